// Tracks which images of a request are still missing, so that a call that broke off can be
// continued.
#ifndef SKIPSTREAM_CLIENT_CC_PENDING_IMAGES_H_
#define SKIPSTREAM_CLIENT_CC_PENDING_IMAGES_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "skipstream/v1/image_generation.pb.h"

namespace skipstream::client {

// Returns the number of images that a request asks for, as the API defines it.
int64_t ImageCount(const v1::GenerateRequest& request);

// Fixes the number of images and one seed per image, drawing seeds where none are given. Generation
// is deterministic given its seeds, so the same request makes the same images each time it is sent.
// Returns false for a request whose lists contradict each other, and leaves it unchanged for the
// server to refuse.
bool PinSeeds(v1::GenerateRequest& request, absl::FunctionRef<uint32_t()> draw_seed);

// Tracks one call over its attempts. Events of an attempt are rewritten so that the caller sees one
// request: original image indexes, counts over all images, every image once.
class PendingImages {
 public:
  // `request` is pinned unless it is one that the server will refuse (`pinned` is PinSeeds()'s
  // result).
  PendingImages(v1::GenerateRequest request, bool pinned);

  // Returns the request of the next attempt, for the missing images. The rest of a request is
  // another request, so it has another id, which follows from the request's own and from the
  // missing images. After an image was delivered it also names the SHA-256 of the model (and of the
  // guide model), so that the rest cannot come from other weights.
  v1::GenerateRequest NextAttempt();

  // Rewrites an event of the current attempt. Returns false if the caller has seen this image
  // already.
  bool Rewrite(v1::GenerateEvent& event);

  // Returns true if every image was delivered or has failed.
  bool all_settled() const { return pinned_ && unsettled_.empty(); }
  // Returns the request that makes all delivered images; at least one was.
  v1::GenerateRequest ResolvedRequest() const;

 private:
  std::string IdOfRest() const;
  int64_t OriginalIndex(int index) const;
  void RewriteProgress(v1::Progress& progress) const;
  bool Settle(int index);

  v1::GenerateRequest request_;
  bool pinned_;
  std::vector<int> unsettled_;                    // original indexes, ascending
  std::vector<int> in_attempt_;                   // original index by index in the current attempt
  std::map<int, v1::GenerateRequest> delivered_;  // original index -> what makes that image
};

}  // namespace skipstream::client

#endif  // SKIPSTREAM_CLIENT_CC_PENDING_IMAGES_H_
