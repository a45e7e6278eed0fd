// Queues the events of one RPC until its subscriber takes them.
#ifndef SKIPSTREAM_SERVER_GENERATION_EVENT_OUTBOX_H_
#define SKIPSTREAM_SERVER_GENERATION_EVENT_OUTBOX_H_

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "skipstream/v1/image_generation.pb.h"

namespace skipstream {

// Shares an event, which is made once, between all subscribers of a generation.
using SharedEvent = std::shared_ptr<const v1::GenerateEvent>;

// Bounds the memory that a slow subscriber takes; only that subscriber loses events:
//   progress  one event per image; a newer one replaces one that was not yet taken
//   previews  one per image, the newest; refused while more than a quarter of the bound is waiting,
//             dropped when an image needs the room, and when their image has already ended
//   the rest  is never dropped; when it does not fit, the request has to be given up
// Events leave in the order in which their place in the queue was taken. Not thread-safe.
class EventOutbox {
 public:
  // `max_bytes` bounds the waiting events; a lone event may be larger.
  EventOutbox(size_t max_bytes, int num_images, int evaluations_per_image);

  // Queues the evaluations done for one image.
  void PushProgress(int image, int evaluations_done);

  // Returns true if a preview of this image is worth encoding for this subscriber now. A refusal
  // counts as dropped.
  bool WantsPreview(int image);
  void PushPreview(SharedEvent preview);

  // Queues an image, its failure, accepted or completed. Returns false if it did not fit, even
  // without previews. An image counts as all of its evaluations, whether their progress was pushed
  // or not.
  [[nodiscard]] bool Push(SharedEvent event);

  // Removes and returns the next event for the subscriber; null if none is waiting.
  SharedEvent Pop();

  // Drops all waiting events.
  void Clear();

  bool empty() const { return queue_.empty(); }
  size_t bytes() const { return bytes_; }
  int64_t previews_dropped() const { return previews_dropped_; }

 private:
  struct Entry {
    SharedEvent event;  // null for progress, which is made when it leaves
    int image = -1;     // set for progress and previews
    size_t bytes = 0;
  };
  using Queue = std::list<Entry>;
  struct ImageState {
    int evaluations_done = 0;
    std::optional<Queue::iterator> progress;  // waiting in the queue
    std::optional<Queue::iterator> preview;
    bool ended = false;  // its image or failure is in the queue or gone
  };

  Queue::iterator Append(SharedEvent event, int image);
  v1::GenerateEvent ProgressOf(int image) const;
  void SetEvaluationsDone(ImageState& image, int evaluations_done);
  void Remove(Queue::iterator entry);
  void DropPreview(ImageState& image);

  const size_t max_bytes_;
  const int evaluations_per_image_;
  std::vector<ImageState> images_;
  int64_t evaluations_done_ = 0;  // of all images
  Queue queue_;
  size_t bytes_ = 0;
  int64_t previews_dropped_ = 0;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_GENERATION_EVENT_OUTBOX_H_
