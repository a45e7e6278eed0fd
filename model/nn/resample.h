#ifndef SKIPSTREAM_MODEL_NN_RESAMPLE_H_
#define SKIPSTREAM_MODEL_NN_RESAMPLE_H_

namespace skipstream {

// Says what a block does to the resolution.
enum class Resample { kNone, kUp, kDown };

}  // namespace skipstream

#endif  // SKIPSTREAM_MODEL_NN_RESAMPLE_H_
