#include "model/execution/evaluator.h"

#include <algorithm>
#include <cstring>

#include "ATen/ops/empty.h"
#include "ATen/ops/zeros.h"
#include "c10/util/Exception.h"
#include "model/families/edm_unet/unet.h"

namespace skipstream {
namespace {

// Rounds up, so that the next part is aligned for the device.
int64_t Aligned(int64_t bytes) { return (bytes + 255) / 256 * 256; }

template <typename T>
const T* At(const at::Tensor& bytes, int64_t offset) {
  return reinterpret_cast<const T*>(bytes.const_data_ptr<uint8_t>() + offset);
}

}  // namespace

Evaluator::InputLayout::InputLayout(int rows, int num_skips)
    : updates(Aligned(rows * static_cast<int64_t>(sizeof(RowDescriptor)))),
      rho(updates + Aligned(rows * static_cast<int64_t>(sizeof(SlotUpdate)))),
      bytes(rho + Aligned(int64_t{rows} * num_skips * static_cast<int64_t>(sizeof(float)))) {}

Evaluator::Evaluator(Backend& backend, Network& network, int max_rows, bool one_size)
    : backend_(backend),
      network_(network),
      extent_{network.info().channels, network.info().height, network.info().width},
      num_skips_(network.info().num_skips),
      one_size_(one_size),
      largest_(max_rows) {
  const auto make = [&](at::IntArrayRef shape, at::ScalarType type) {
    return at::empty(shape, at::TensorOptions(backend_.device()).dtype(type));
  };
  inputs_ = make({InputLayout(max_rows, num_skips_).bytes}, at::kByte);
  x_ = make({max_rows, extent_.height, extent_.width, extent_.channels}, at::kFloat);
  c_noise_ = make({max_rows}, at::kFloat);
  const int classes = network.info().num_classes;
  if (classes > 0) labels_ = make({max_rows, classes}, at::kFloat);
  failures_ = make({max_rows}, at::kInt);
}

int Evaluator::Prepare(size_t rows) {
  const int wanted = static_cast<int>(std::min<size_t>(rows, static_cast<size_t>(largest_)));
  int size = one_size_ ? largest_ : backend_.pads_batches() ? BucketFor(wanted, largest_) : wanted;
  while (!graphs_.contains(size)) {
    if (const auto found = substitutes_.find(size); found != substitutes_.end()) {
      return found->second;
    }
    try {
      Capture(size);
    } catch (const c10::OutOfMemoryError&) {
      backend_.ReleaseCache();
      // One that is there already, if it is large enough; else a smaller one.
      const auto larger = graphs_.lower_bound(size);
      if (larger != graphs_.end()) return substitutes_[size] = larger->first;
      if (size == 1) throw;
      size = SmallerBucket(size);
      largest_ = size;
    }
  }
  return size;
}

void Evaluator::Capture(int rows) {
  inputs_.zero_();  // no rows, so that recording changes no slot
  graphs_[rows] = backend_.Capture([this, rows] { Evaluate(rows); });
}

void Evaluator::Evaluate(int rows) {
  const InputLayout layout(rows, num_skips_);
  const RowTask task = {At<RowDescriptor>(inputs_, 0), At<SlotUpdate>(inputs_, layout.updates),
                        rows, extent_};
  const auto of_rows = [&](const at::Tensor& tensor) {
    return tensor.defined() ? tensor.narrow(0, 0, rows) : tensor;
  };
  const at::Tensor x = of_rows(x_);
  const at::Tensor c_noise = of_rows(c_noise_);
  const at::Tensor labels = of_rows(labels_);
  const at::Tensor rho =
      inputs_
          .narrow(0, layout.rho, int64_t{rows} * num_skips_ * static_cast<int64_t>(sizeof(float)))
          .view(at::kFloat)
          .view({rows, num_skips_});
  backend_.Gather(task, x, c_noise, labels);
  const at::Tensor f = network_.unet().Forward(x.permute({0, 3, 1, 2}), c_noise, labels, rho);
  backend_.Update(task, f.permute({0, 2, 3, 1}).contiguous(), of_rows(failures_));
}

void Evaluator::Queue(absl::Span<const PlacedRow> rows, std::vector<Queued>& queued) {
  const int size = Prepare(rows.size());
  rows = rows.subspan(0, size);
  const DeviceBatch batch = MakeDeviceBatch(rows, size, extent_, num_skips_);
  Queued& evaluation = queued.emplace_back();
  evaluation.rows.assign(rows.begin(), rows.end());
  for (size_t u = 0; u < batch.num_updates; ++u) {
    evaluation.update_of.insert(evaluation.update_of.end(), batch.updates[u].num_rows, u);
  }
  const InputLayout layout(size, num_skips_);
  const at::Tensor& host = evaluation.staged.emplace_back(backend_.HostBuffer(layout.bytes));
  auto* const to = host.mutable_data_ptr<uint8_t>();
  std::memcpy(to, batch.rows.data(), batch.rows.size() * sizeof(RowDescriptor));
  std::memcpy(to + layout.updates, batch.updates.data(), batch.updates.size() * sizeof(SlotUpdate));
  std::memcpy(to + layout.rho, batch.rho.data(), batch.rho.size() * sizeof(float));
  backend_.Copy(inputs_.narrow(0, 0, layout.bytes), host);
  graphs_.at(size)->Replay();
  evaluation.failures =
      backend_.HostBuffer(size * static_cast<int64_t>(sizeof(int32_t))).view(at::kInt);
  backend_.Copy(evaluation.failures, failures_.narrow(0, 0, size));
}

absl::Duration Evaluator::Time(int rows) {
  std::vector<int> sizes;
  for (int done = 0; done < rows;) {
    sizes.push_back(Prepare(rows - done));
    done += sizes.back();
  }
  inputs_.zero_();
  const std::unique_ptr<DeviceMark> begin = backend_.Mark();
  for (const int size : sizes) graphs_.at(size)->Replay();
  const std::unique_ptr<DeviceMark> end = backend_.Mark();
  end->Wait();
  return end->Since(*begin);
}

}  // namespace skipstream
