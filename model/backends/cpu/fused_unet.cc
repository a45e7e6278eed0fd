#include "model/backends/cpu/fused_unet.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "ATen/Parallel.h"
#include "ATen/core/Tensor.h"
#include "ATen/ops/empty.h"
#include "base/aligned_buffer.h"
#include "model/backends/cpu/cpu_features.h"
#include "model/backends/cpu/fused_conditioning.h"
#include "model/backends/cpu/fused_layers.h"
#include "model/backends/cpu/kernels.h"
#include "model/backends/cpu/team.h"
#include "model/families/edm_unet/unet_topology.h"
#include "model/nn/layers.h"
#include "model/nn/resampling.h"

namespace skipstream {
namespace {

using cpu::AlignedBuffer;
using cpu::Barrier;
using cpu::BFloat16;
using cpu::kLanes;
using cpu::RoundUp;
using cpu::Team;

// Holds an image [H, W, C] and the statistics of its lines.
struct Feature {
  AlignedBuffer<float> x;
  AlignedBuffer<float> mean;
  AlignedBuffer<float> squares;
  int64_t size = 0;  // H = W
  int64_t channels = 0;

  Feature() = default;
  // Allocates `values` values, and `line` statistics of each kind.
  Feature(int64_t values, int64_t line) : x(values), mean(line), squares(line) {}

  void Shape(int64_t pixels_across, int64_t c) {
    size = pixels_across;
    channels = c;
  }

  // Measures the lines of x, and waits for the team.
  void Measure(const Team& team) {
    const cpu::LineStatistics task = {x.data(), size, channels, mean.data(), squares.data()};
    team.Share(size, [&](int64_t begin, int64_t end) { cpu::MeasureLines(task, begin, end); });
    team.Wait();
  }
};

// Holds the buffers in which one row of a batch is computed.
template <typename T>
struct RowBuffers {
  std::vector<Feature> skips;
  Feature decoder[2];          // used by blocks alternately
  Feature middle;              // between the convolutions of a block
  AlignedBuffer<float> image;  // with zeros around
  AlignedBuffer<T> active;     // input of a convolution, with zeros around
  AlignedBuffer<T> raw;
  AlignedBuffer<float> raw_float;
  AlignedBuffer<T> qkv;
  AlignedBuffer<T> keys;
  AlignedBuffer<T> values;
};

// Holds the sizes of the buffers that blocks share: the largest that any block needs.
struct Sizes {
  int64_t feature = 0;
  int64_t line = 0;
  int64_t active = 0;
  int64_t raw = 0;
  int64_t raw_float = 0;
  int64_t qkv = 0;
  int64_t keys = 0;
  int64_t values = 0;
  int64_t scores = 0;
  int64_t channels = 0;
};

// Holds the scratch memory of one thread.
template <typename T>
struct Scratch {
  AlignedBuffer<float> multiplier;
  AlignedBuffer<float> offset;
  AlignedBuffer<double> sums;
  AlignedBuffer<float> scores;
  AlignedBuffer<T> weights;
};

template <typename T>
class FusedUNet final : public UNet {
 public:
  template <typename Config>
  FusedUNet(const Config& config, int out_channels, ParameterSource& source)
      : topology_(TopologyOf(config)),
        image_channels_(config.img_channels),
        out_channels_(out_channels),
        conditioning_(TakeEmbedding(source, config), config.label_dim,
                      topology_.style.emb_channels) {
    in_conv_ = FusedConv<float>(
        {TakeConv(source, topology_.in_conv, image_channels_, topology_.in_conv_channels, 3)},
        topology_.in_conv_channels);
    for (const UNetBlockSpec& spec : topology_.encoder) AddBlock(source, spec);
    for (const UNetBlockSpec& spec : topology_.decoder) AddBlock(source, spec);
    const int64_t channels = topology_.decoder.back().out_channels;
    out_norm_ = FusedNorm(TakeNorm(source, topology_.out_norm, channels), channels);
    out_conv_ = FusedConv<T>({TakeConv(source, topology_.out_conv, channels, out_channels, 3)},
                             out_channels);
    Need(topology_.resolution, channels);
  }

  at::Tensor Forward(const at::Tensor& x, const at::Tensor& c_noise, const at::Tensor& labels,
                     const at::Tensor& rho) const override {
    const int64_t rows = x.size(0);
    const int64_t size = topology_.resolution;
    at::Tensor out = at::empty({rows, out_channels_, size, size},
                               x.options().memory_format(at::MemoryFormat::ChannelsLast));
    const Batch batch = {x.const_data_ptr<float>(),
                         c_noise.const_data_ptr<float>(),
                         labels.defined() ? labels.const_data_ptr<float>() : nullptr,
                         rho.const_data_ptr<float>(),
                         out.mutable_data_ptr<float>(),
                         rows};
    const int threads = at::get_num_threads();
    std::unique_ptr<Workspace> workspace = TakeWorkspace(rows, threads);
#pragma omp parallel num_threads(threads)
    Compute(batch, *workspace, omp_get_thread_num(), omp_get_num_threads());
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(workspace));
    return out;
  }

 private:
  struct Block {
    UNetBlockSpec spec;
    bool projects = false;
    int64_t size = 0;  // H = W of the output
    FusedNorm norm0;
    FusedConv<T> conv0;
    FusedNorm norm1;
    FusedConv<T> conv1;  // and the shortcut, if it projects
    FusedNorm norm2;
    FusedConv<T> qkv;
    FusedConv<T> proj;
  };

  struct Workspace {
    int64_t rows = 0;  // there is room for
    AlignedBuffer<float> embedding;
    AlignedBuffer<float> conditions;
    std::vector<RowBuffers<T>> buffers;   // of the rows that are computed at a time
    std::vector<Scratch<T>> scratch;      // per thread
    std::unique_ptr<Barrier[]> barriers;  // of all threads; of the groups
    int num_barriers = 0;
    std::atomic<int64_t> next_row = 0;  // that nobody has taken yet
  };

  struct Batch {
    const float* x;
    const float* c_noise;
    const float* labels;
    const float* rho;
    float* out;
    int64_t rows;
  };

  // One thread's view of the work on one row.
  struct Row {
    RowBuffers<T>& buffers;
    Scratch<T>& scratch;
    const Team& team;
    const float* conditions;  // of the batch
    int64_t index;            // in the batch
    int64_t rows;
    const float* rho;
  };

  void AddBlock(ParameterSource& source, const UNetBlockSpec& spec) {
    const UNetBlockStyle& style = topology_.style;
    Block& block = blocks_.emplace_back();
    block.spec = spec;
    block.projects = HasProjectedShortcut(style, spec);
    block.size = topology_.resolution >> spec.level;
    const int64_t in = spec.in_channels;
    const int64_t out = spec.out_channels;
    const BlockParameters parameters = TakeBlock(source, style, spec);
    block.norm0 = FusedNorm(parameters.norm0, in);
    block.conv0 = FusedConv<T>({parameters.conv0}, out);
    conditioning_.AddBlock(parameters.affine, style.adaptive_scale ? 2 * out : out,
                           style.adaptive_scale ? nullptr : &block.conv0.bias);
    block.norm1 = FusedNorm(parameters.norm1, out);
    std::vector<LayerParameters> operands = {parameters.conv1};
    if (block.projects) operands.push_back(parameters.shortcut);
    block.conv1 = FusedConv<T>(operands, out);
    Need(block.size, in);
    Need(block.size, out);
    const int64_t pixels = block.size * block.size;
    sizes_.feature = std::max(sizes_.feature, pixels * out);
    sizes_.line = std::max(sizes_.line, block.size * out);
    sizes_.raw = std::max(sizes_.raw, pixels * in);
    if (spec.resample != Resample::kNone && !block.projects) {
      sizes_.raw_float = std::max(sizes_.raw_float, pixels * in);
    }
    if (spec.heads == 0) return;
    block.norm2 = FusedNorm(parameters.norm2, out);
    block.qkv = FusedConv<T>({parameters.qkv}, 3 * out, 3);
    block.proj = FusedConv<T>({parameters.proj}, out);
    const int64_t width = out / spec.heads;
    sizes_.qkv = std::max(sizes_.qkv, pixels * 3 * out);
    sizes_.raw = std::max(sizes_.raw, pixels * out);
    sizes_.keys = std::max(sizes_.keys, spec.heads * cpu::PackedSize<T>(width, pixels));
    sizes_.values = std::max(sizes_.values, spec.heads * cpu::PackedSize<T>(pixels, width));
    sizes_.scores = std::max(sizes_.scores, cpu::kQueries * RoundUp(pixels, kLanes));
  }

  // Room for what a 3x3 convolution over `channels` reads.
  void Need(int64_t size, int64_t channels) {
    sizes_.active = std::max(sizes_.active, (size + 2) * (size + 2) * channels);
    sizes_.channels = std::max(sizes_.channels, channels);
  }

  std::unique_ptr<Workspace> TakeWorkspace(int64_t rows, int threads) const {
    std::unique_ptr<Workspace> workspace;
    {
      const std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        workspace = std::move(idle_.back());
        idle_.pop_back();
      }
    }
    if (workspace == nullptr) workspace = std::make_unique<Workspace>();
    if (workspace->rows < rows) {
      workspace->rows = rows;
      workspace->embedding = AlignedBuffer<float>(rows * conditioning_.scratch_size());
      // Convolutions read biases in here, in whole vectors.
      workspace->conditions = AlignedBuffer<float>(rows * conditioning_.outputs() + kLanes);
    }
    while (static_cast<int64_t>(workspace->buffers.size()) < std::min<int64_t>(rows, threads)) {
      workspace->buffers.push_back(MakeBuffers());
    }
    while (static_cast<int>(workspace->scratch.size()) < threads) {
      workspace->scratch.push_back(
          {AlignedBuffer<float>(sizes_.channels), AlignedBuffer<float>(sizes_.channels),
           AlignedBuffer<double>(2 * sizes_.channels), AlignedBuffer<float>(sizes_.scores),
           AlignedBuffer<T>(sizes_.scores)});
    }
    if (workspace->num_barriers <= threads) {
      workspace->num_barriers = threads + 1;
      workspace->barriers = std::make_unique<Barrier[]>(workspace->num_barriers);
    }
    return workspace;
  }

  RowBuffers<T> MakeBuffers() const {
    RowBuffers<T> buffers;
    const int64_t size = topology_.resolution;
    const auto add_skip = [&](int64_t across, int64_t channels) {
      buffers.skips.emplace_back(across * across * channels, across * channels);
      buffers.skips.back().Shape(across, channels);
    };
    add_skip(size, topology_.in_conv_channels);
    for (size_t i = 0; i < topology_.encoder.size(); ++i) {
      add_skip(blocks_[i].size, blocks_[i].spec.out_channels);
    }
    for (Feature& feature : buffers.decoder) feature = Feature(sizes_.feature, sizes_.line);
    buffers.middle = Feature(sizes_.feature, sizes_.line);
    buffers.image = AlignedBuffer<float>((size + 2) * (size + 2) * image_channels_);
    buffers.active = AlignedBuffer<T>(sizes_.active);
    buffers.raw = AlignedBuffer<T>(sizes_.raw);
    buffers.raw_float = AlignedBuffer<float>(sizes_.raw_float);
    buffers.qkv = AlignedBuffer<T>(sizes_.qkv);
    buffers.keys = AlignedBuffer<T>(sizes_.keys);
    buffers.values = AlignedBuffer<T>(sizes_.values);
    return buffers;
  }

  // Computes the share of thread `me` of `threads` in a batch.
  void Compute(const Batch& batch, Workspace& workspace, int me, int threads) const {
#pragma omp single
    {
      workspace.next_row = 0;
      workspace.barriers[0].Reset(threads);
      const auto left = static_cast<int>(batch.rows % threads);
      for (int group = 0; group < left; ++group) {
        workspace.barriers[1 + group].Reset(FirstThread(group + 1, left, threads) -
                                            FirstThread(group, left, threads));
      }
    }
    const Team all(me, threads, workspace.barriers[0]);
    conditioning_.Apply(batch.c_noise, batch.labels, batch.rows, workspace.embedding.data(),
                        workspace.conditions.data(), all);
    // Free threads take one row each, as long as there is one for every thread; then groups of
    // threads share the remaining rows.
    const int64_t alone = batch.rows / threads * threads;
    for (int64_t row; (row = workspace.next_row.fetch_add(1)) < alone;) {
      ComputeRow(batch, workspace, row, workspace.buffers[me], workspace.scratch[me], Team());
    }
    const auto left = static_cast<int>(batch.rows - alone);
    for (int group = 0; group < left; ++group) {
      const int first = FirstThread(group, left, threads);
      const int last = FirstThread(group + 1, left, threads);
      if (me < first || me >= last) continue;
      const Team team(me - first, last - first, workspace.barriers[1 + group]);
      team.Wait();  // until the first has done its own rows: the buffers are free then
      ComputeRow(batch, workspace, alone + group, workspace.buffers[alone > 0 ? first : group],
                 workspace.scratch[me], team);
    }
  }

  static int FirstThread(int group, int groups, int threads) { return group * threads / groups; }

  void ComputeRow(const Batch& batch, const Workspace& workspace, int64_t index,
                  RowBuffers<T>& buffers, Scratch<T>& scratch, const Team& team) const {
    const int64_t size = topology_.resolution;
    const int64_t image = size * size * image_channels_;
    const Row row = {buffers,
                     scratch,
                     team,
                     workspace.conditions.data(),
                     index,
                     batch.rows,
                     batch.rho + index * topology_.num_skips()};

    // Only what is between the zeros around changes.
    team.Share(size, [&](int64_t begin, int64_t end) {
      for (int64_t y = begin; y < end; ++y) {
        std::copy_n(batch.x + index * image + y * size * image_channels_, size * image_channels_,
                    buffers.image.data() + ((y + 1) * (size + 2) + 1) * image_channels_);
      }
    });
    team.Wait();
    cpu::Convolution<float> first;
    first.inputs[0] = Padded(buffers.image.data(), image_channels_, size);
    Convolve(row, in_conv_, size, topology_.in_conv_channels, first, buffers.skips[0].x.data());
    buffers.skips[0].Measure(team);

    const size_t encoders = topology_.encoder.size();
    for (size_t i = 0; i < encoders; ++i) {
      ComputeBlock(row, i, buffers.skips[i], nullptr, 1.0f, buffers.skips[i + 1]);
    }
    const Feature* h = &buffers.skips.back();
    size_t skips = buffers.skips.size();
    int64_t joined = 0;
    for (size_t i = encoders; i < blocks_.size(); ++i) {
      const Block& block = blocks_[i];
      const bool joins = block.spec.skip_channels > 0;
      Feature& out = buffers.decoder[i % 2];
      if (team.leads()) out.Shape(block.size, block.spec.out_channels);
      team.Wait();
      ComputeBlock(row, i, *h, joins ? &buffers.skips[--skips] : nullptr,
                   joins ? row.rho[joined++] : 1.0f, out);
      h = &out;
    }
    cpu::Normalization<T> norm = NormOf(out_norm_, *h);
    norm.padded = true;
    Normalize(row, norm);
    cpu::Convolution<T> last;
    last.inputs[0] = Padded(buffers.active.data(), out_norm_.channels, size);
    Convolve(row, out_conv_, size, out_channels_, last,
             batch.out + index * size * size * out_channels_);
  }

  cpu::Normalization<T> NormOf(const FusedNorm& norm, const Feature& x) const {
    cpu::Normalization<T> task;
    task.parts[0] = {x.x.data(), x.mean.data(), x.squares.data(), x.channels, 1.0f};
    task.groups = norm.groups;
    task.epsilon = topology_.style.epsilon;
    task.weight = norm.weight.data();
    task.bias = norm.bias.data();
    task.height = task.width = x.size;
    return task;
  }

  // Normalizes into the row's active buffer.
  void Normalize(const Row& row, cpu::Normalization<T>& task) const {
    task.out = row.buffers.active.data();
    Scratch<T>& scratch = row.scratch;
    cpu::NormalizationCoefficients(task, scratch.multiplier.data(), scratch.offset.data(),
                                   scratch.sums.data());
    row.team.Share(cpu::NormalizationUnits(task), [&](int64_t begin, int64_t end) {
      cpu::Normalize(task, scratch.multiplier.data(), scratch.offset.data(), begin, end);
    });
    row.team.Wait();
  }

  template <typename U>
  static cpu::ConvInput<U> Padded(const U* data, int64_t channels, int64_t size) {
    return {data, channels, (size + 2) * channels, 3};
  }
  static cpu::ConvInput<T> Pointwise(const T* data, int64_t channels, int64_t size) {
    return {data, channels, size * channels, 1};
  }

  template <typename U>  // T, or float for the image
  void Convolve(const Row& row, const FusedConv<U>& conv, int64_t size, int64_t columns,
                cpu::Convolution<U>& task, float* out) const {
    task.weight = conv.weight.data();
    if (task.bias == nullptr) task.bias = conv.bias.data();
    task.height = task.width = size;
    task.columns = columns;
    task.out = out;
    row.team.Share(cpu::ConvolutionUnits(task),
                   [&](int64_t begin, int64_t end) { cpu::Convolve(task, begin, end); });
    row.team.Wait();
  }

  void ComputeBlock(const Row& row, size_t index, const Feature& h, const Feature* skip, float rho,
                    Feature& out) const {
    using Resampling = typename cpu::Normalization<T>::Resampling;
    const Block& block = blocks_[index];
    RowBuffers<T>& buffers = row.buffers;
    const UNetBlockStyle& style = topology_.style;
    const UNetBlockSpec& spec = block.spec;
    const int64_t size = block.size;
    Feature& middle = buffers.middle;
    if (row.team.leads()) middle.Shape(size, spec.out_channels);  // seen after the first wait

    cpu::Normalization<T> norm0 = NormOf(block.norm0, h);
    if (skip != nullptr) {
      norm0.num_parts = 2;
      norm0.parts[1] = {skip->x.data(), skip->mean.data(), skip->squares.data(), skip->channels,
                        rho};
    }
    norm0.resampling = spec.resample == Resample::kDown ? Resampling::kDown
                       : spec.resample == Resample::kUp ? Resampling::kUp
                                                        : Resampling::kNone;
    norm0.padded = true;
    const float* residual = h.x.data();
    if (block.projects) {
      norm0.raw = buffers.raw.data();
      residual = nullptr;
    } else if (spec.resample != Resample::kNone) {
      norm0.raw_float = buffers.raw_float.data();
      residual = buffers.raw_float.data();
    }
    Normalize(row, norm0);

    const float* const condition = row.conditions + conditioning_.Place(index, row.index, row.rows);
    cpu::Convolution<T> conv0;
    conv0.inputs[0] = Padded(buffers.active.data(), spec.in_channels, size);
    if (!style.adaptive_scale) conv0.bias = condition;  // with the convolution's own
    Convolve(row, block.conv0, size, spec.out_channels, conv0, middle.x.data());
    middle.Measure(row.team);

    cpu::Normalization<T> norm1 = NormOf(block.norm1, middle);
    norm1.padded = true;
    if (style.adaptive_scale) {
      norm1.scale = condition;
      norm1.shift = condition + spec.out_channels;
    }
    Normalize(row, norm1);

    cpu::Convolution<T> conv1;
    conv1.inputs[0] = Padded(buffers.active.data(), spec.out_channels, size);
    if (block.projects) {
      conv1.inputs[1] = Pointwise(buffers.raw.data(), spec.in_channels, size);
    }
    conv1.residual = residual;
    conv1.scale = style.skip_scale;
    Convolve(row, block.conv1, size, spec.out_channels, conv1, out.x.data());
    if (spec.heads > 0) {
      out.Measure(row.team);
      ComputeAttention(row, block, out);
    }
    out.Measure(row.team);
  }

  // out = (out + attention of it) * skip_scale.
  void ComputeAttention(const Row& row, const Block& block, Feature& out) const {
    RowBuffers<T>& buffers = row.buffers;
    const int64_t size = block.size;
    const int64_t channels = block.spec.out_channels;
    const int64_t heads = block.spec.heads;
    const int64_t width = channels / heads;
    cpu::Normalization<T> norm = NormOf(block.norm2, out);
    norm.silu = false;
    Normalize(row, norm);

    cpu::Convolution<T> qkv;
    qkv.inputs[0] = Pointwise(buffers.active.data(), channels, size);
    qkv.rounded = buffers.qkv.data();
    Convolve(row, block.qkv, size, 3 * channels, qkv, nullptr);

    const int64_t pixels = size * size;
    const auto head_of = [&](int64_t index) {
      cpu::AttentionHead<T> head;
      head.q = buffers.qkv.data() + index * width;
      head.k = head.q + channels;
      head.v = head.k + channels;
      head.stride = 3 * channels;
      head.pixels = pixels;
      head.channels = width;
      head.keys = buffers.keys.data() + index * cpu::PackedSize<T>(width, pixels);
      head.values = buffers.values.data() + index * cpu::PackedSize<T>(pixels, width);
      head.out = buffers.raw.data() + index * width;
      head.out_stride = channels;
      return head;
    };
    row.team.Share(2 * heads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        i % 2 == 0 ? cpu::PackKeys(head_of(i / 2)) : cpu::PackValues(head_of(i / 2));
      }
    });
    row.team.Wait();
    const int64_t units = cpu::AttentionUnits(head_of(0));
    row.team.Share(heads * units, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin / units; i * units < end; ++i) {
        cpu::Attend(head_of(i), row.scratch.scores.data(), row.scratch.weights.data(),
                    std::max(begin - i * units, int64_t{0}), std::min(end - i * units, units));
      }
    });
    row.team.Wait();

    cpu::Convolution<T> proj;
    proj.inputs[0] = Pointwise(buffers.raw.data(), channels, size);
    proj.residual = out.x.data();
    proj.scale = topology_.style.skip_scale;
    Convolve(row, block.proj, size, channels, proj, out.x.data());
  }

  const UNetTopology topology_;
  const int64_t image_channels_;
  const int64_t out_channels_;
  FusedConditioning conditioning_;
  FusedConv<float> in_conv_;
  std::vector<Block> blocks_;  // the encoder's, then the decoder's
  FusedNorm out_norm_;
  FusedConv<T> out_conv_;
  Sizes sizes_;

  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Workspace>> idle_;  // guarded by mutex_
};

}  // namespace

absl::Status CheckFused([[maybe_unused]] const UNetFamilyConfig& config,
                        [[maybe_unused]] Precision precision) {
#ifndef SKIPSTREAM_CPU_KERNELS
  return absl::UnimplementedError("this build has no fused kernels for its processor");
#else
  const CpuFeatures cpu = DetectCpuFeatures();
  if (!cpu.avx512) {
    return absl::UnimplementedError("the fused kernels need a CPU with AVX-512 (F, BW, DQ and VL)");
  }
  if (precision == Precision::kBFloat16 && !cpu.avx512_bf16) {
    return absl::UnimplementedError("bfloat16 needs a CPU with AVX512_BF16");
  }
  absl::Status plain = std::visit([](const auto& family) { return CheckPlain(family); }, config);
  if (!plain.ok()) return plain;
  const UNetTopology topology =
      std::visit([](const auto& family) { return TopologyOf(family); }, config);
  for (const std::vector<UNetBlockSpec>* blocks : {&topology.encoder, &topology.decoder}) {
    for (const UNetBlockSpec& block : *blocks) {
      if (precision == Precision::kBFloat16 && block.heads > 0 &&
          block.out_channels / block.heads % 2 != 0) {
        return absl::UnimplementedError(
            "an attention over an odd number of channels has no form in bfloat16");
      }
    }
  }
  return absl::OkStatus();
#endif
}

std::unique_ptr<UNet> MakeFusedUNet([[maybe_unused]] const UNetFamilyConfig& config,
                                    [[maybe_unused]] int out_channels,
                                    [[maybe_unused]] Precision precision,
                                    [[maybe_unused]] ParameterSource& source) {
#ifdef SKIPSTREAM_CPU_KERNELS
  return std::visit(
      [&](const auto& family) -> std::unique_ptr<UNet> {
        if (precision == Precision::kBFloat16) {
          return std::make_unique<FusedUNet<BFloat16>>(family, out_channels, source);
        }
        return std::make_unique<FusedUNet<float>>(family, out_channels, source);
      },
      config);
#else
  return nullptr;
#endif
}

}  // namespace skipstream
