#include "model/network/fused_unet.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "ATen/Parallel.h"
#include "ATen/core/Tensor.h"
#include "ATen/ops/empty.h"
#include "absl/strings/str_cat.h"
#include "model/cpu/aligned_buffer.h"
#include "model/cpu/kernels.h"
#include "model/cpu/team.h"
#include "model/network/layers.h"
#include "model/network/resampling.h"
#include "model/network/unet_topology.h"

namespace skipstream {
namespace {

using cpu::AlignedBuffer;
using cpu::Barrier;
using cpu::BFloat16;
using cpu::kLanes;
using cpu::kPack;
using cpu::RoundUp;
using cpu::Team;

// --- Parameters ---

// [n], with room for the kernels to read whole vectors. Empty if the source has no values.
AlignedBuffer<float> TakeVector(ParameterSource& source, const std::string& name, int64_t n) {
  const at::Tensor values = source.Take(name, {n});
  if (!values.defined()) return {};
  AlignedBuffer<float> vector(RoundUp(n, kLanes));
  std::copy_n(values.const_data_ptr<float>(), n, vector.data());
  return vector;
}

// A matrix that is filled part by part.
template <typename T>
class PackedMatrix {
 public:
  PackedMatrix() = default;
  PackedMatrix(int64_t rows, int64_t columns)
      : rows_(rows), columns_(columns), values_(cpu::PackedSize<T>(rows, columns)) {}

  // Row `row` and those after it take the `taps` * `channels` values of each output in `weight`
  // [columns, ..], the channels of every tap filled up to `row_channels`. Output i goes to column
  // first_column + column(i).
  template <typename Column>
  void Fill(const float* weight, int64_t outputs, int64_t taps, int64_t channels,
            int64_t row_channels, int64_t row, int64_t first_column, const Column& column) {
    for (int64_t i = 0; i < outputs; ++i) {
      for (int64_t tap = 0; tap < taps; ++tap) {
        for (int64_t c = 0; c < channels; ++c) {
          values_.data()[cpu::PackedIndex<T>(rows_, columns_, row + tap * row_channels + c,
                                             first_column + column(i))] =
              cpu::Rounded(*weight++, T());
        }
      }
    }
  }

  const T* data() const { return values_.data(); }

 private:
  int64_t rows_ = 0;
  int64_t columns_ = 0;
  AlignedBuffer<T> values_;
};

int64_t SameColumn(int64_t i) { return i; }

// Fully connected layer in float32.
struct FusedLinear {
  int64_t inputs = 0;
  int64_t outputs = 0;
  PackedMatrix<float> weight;
  AlignedBuffer<float> bias;

  FusedLinear() = default;
  FusedLinear(ParameterSource& source, const std::string& name, int64_t in, int64_t out,
              Linear::Bias stored = Linear::Bias::kStored, float factor = 1.0f)
      : inputs(in), outputs(out) {
    const at::Tensor weights = source.Take(name + ".weight", {out, in});
    if (stored == Linear::Bias::kStored) {
      bias = TakeVector(source, name + ".bias", out);
    } else {
      bias = AlignedBuffer<float>(RoundUp(out, kLanes));
    }
    if (!weights.defined()) return;
    weight = PackedMatrix<float>(in, out);
    weight.Fill(weights.mul(factor).const_data_ptr<float>(), out, 1, in, in, 0, 0, SameColumn);
  }

  // x [rows, inputs] -> out [rows, outputs], plus `residual` if there is one. Does not wait for the
  // team.
  void Apply(const float* x, int64_t rows, const float* residual, float* out,
             const Team& team) const {
    cpu::Convolution<float> task;
    task.inputs[0] = {x, inputs, inputs, 0, 1};
    task.weight = weight.data();
    task.bias = bias.data();
    task.height = 1;
    task.width = rows;
    task.columns = outputs;
    task.residual = residual;
    task.out = out;
    team.Share(cpu::ConvolutionUnits(task),
               [&](int64_t begin, int64_t end) { cpu::Convolve(task, begin, end); });
  }
};

// The noise level and the class as one vector per row, and what every block makes of it.
class Conditioning {
 public:
  Conditioning(const SongUNetConfig& config, ParameterSource& source)
      : label_first_(true),
        noise_(config.noise_channels()),
        emb_(config.emb_channels()),
        map_noise_(config.embedding_type == SongUNetConfig::Embedding::kFourier
                       ? NoiseEmbedding::Fourier(source, "model.map_noise", config.noise_channels())
                       : NoiseEmbedding::Positional(config.noise_channels(), /*reaches_end=*/true,
                                                    NoiseEmbedding::Order::kSinesFirst)) {
    if (config.label_dim > 0) {
      map_label_.emplace(source, "model.map_label", config.label_dim, noise_,
                         Linear::Bias::kStored, std::sqrt(static_cast<float>(config.label_dim)));
    }
    TakeLayers(config.augment_dim, source);
  }
  Conditioning(const DhariwalUNetConfig& config, ParameterSource& source)
      : noise_(config.model_channels),
        emb_(config.emb_channels()),
        map_noise_(NoiseEmbedding::Positional(config.model_channels, /*reaches_end=*/false,
                                              NoiseEmbedding::Order::kCosinesFirst)) {
    if (config.label_dim > 0) {
      map_label_.emplace(source, "model.map_label", config.label_dim, emb_, Linear::Bias::kNone);
    }
    TakeLayers(config.augment_dim, source);
  }

  // The layer `name` of a block, whose outputs, plus `bias` if there is one, Apply() computes too.
  // Returns the block's number.
  size_t AddBlock(ParameterSource& source, const std::string& name, int64_t outputs,
                  const AlignedBuffer<float>* bias) {
    FusedLinear& layer = blocks_.emplace_back(source, name, emb_, outputs);
    if (bias != nullptr && bias->size() == layer.bias.size()) {
      for (int64_t i = 0; i < bias->size(); ++i) layer.bias.data()[i] += bias->data()[i];
    }
    first_.push_back(outputs_);
    outputs_ += outputs;
    return blocks_.size() - 1;
  }

  // Where in the result of Apply() for `rows` rows the outputs of a block for one of them are.
  int64_t Place(size_t block, int64_t row, int64_t rows) const {
    return first_[block] * rows + blocks_[block].outputs * row;
  }

  int64_t outputs() const { return outputs_; }

  // Room Apply() needs per row, besides its result.
  int64_t scratch_size() const { return noise_ + 2 * emb_; }

  // c_noise [rows], labels [rows, label_dim] or null, result: rows * outputs() values.
  void Apply(const float* c_noise, const float* labels, int64_t rows, float* scratch,
             float* result, const Team& team) const {
    float* const noise = scratch;
    float* const first = noise + rows * noise_;
    float* const second = first + rows * emb_;
    const auto silu = [&](float* x) {
      team.Share(rows, [&](int64_t begin, int64_t end) {
        cpu::SiluInPlace<float>(x + begin * emb_, (end - begin) * emb_);
      });
      team.Wait();
    };
    const at::Tensor& frequencies = map_noise_.frequencies();
    const float* const frequency = frequencies.const_data_ptr<float>();
    const int64_t half = frequencies.size(0);
    const bool sines_first = map_noise_.order() == NoiseEmbedding::Order::kSinesFirst;
    team.Share(rows, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        float* const row = noise + b * noise_;
        for (int64_t i = 0; i < half; ++i) {
          const float angle = c_noise[b] * frequency[i];
          row[sines_first ? i : half + i] = std::sin(angle);
          row[sines_first ? half + i : i] = std::cos(angle);
        }
      }
    });
    team.Wait();
    const auto apply = [&](const FusedLinear& layer, const float* x, const float* residual,
                           float* out) {
      layer.Apply(x, rows, residual, out, team);
      team.Wait();
    };
    if (label_first_ && map_label_) apply(*map_label_, labels, noise, noise);
    apply(layer0_, noise, nullptr, first);
    silu(first);
    apply(layer1_, first, nullptr, second);
    if (!label_first_ && map_label_) apply(*map_label_, labels, second, second);
    silu(second);
    for (size_t i = 0; i < blocks_.size(); ++i) {
      blocks_[i].Apply(second, rows, nullptr, result + Place(i, 0, rows), team);
    }
    team.Wait();
  }

 private:
  void TakeLayers(int augment_dim, ParameterSource& source) {
    // Training fed augmentation labels through this layer; here they are always zero.
    if (augment_dim > 0) source.Take("model.map_augment.weight", {noise_, augment_dim});
    layer0_ = FusedLinear(source, "model.map_layer0", noise_, emb_);
    layer1_ = FusedLinear(source, "model.map_layer1", emb_, emb_);
  }

  bool label_first_ = false;  // the class joins the noise embedding; else what is made of it
  int64_t noise_;
  int64_t emb_;
  NoiseEmbedding map_noise_;
  std::optional<FusedLinear> map_label_;
  FusedLinear layer0_;
  FusedLinear layer1_;
  std::vector<FusedLinear> blocks_;
  std::vector<int64_t> first_;  // outputs of the blocks before each
  int64_t outputs_ = 0;         // of all of them
};

// The convolutions of one kernel each that add up to one result.
template <typename T>
struct FusedConv {
  PackedMatrix<T> weight;
  AlignedBuffer<float> bias;

  struct Operand {
    std::string name;
    int64_t channels;
    int kernel;
  };

  FusedConv() = default;
  // `parts`: outputs are stored as (c, part) and become (part, c).
  FusedConv(ParameterSource& source, const std::vector<Operand>& operands, int64_t outputs,
            int64_t parts = 1) {
    std::vector<at::Tensor> weights;
    bool whole = true;
    int64_t rows = 0;
    const auto column = [&](int64_t i) { return i % parts * (outputs / parts) + i / parts; };
    for (const Operand& operand : operands) {
      const at::Tensor& taken = weights.emplace_back(source.TakeKernel(
          operand.name + ".weight", {outputs, operand.channels, operand.kernel, operand.kernel}));
      const at::Tensor biases = source.Take(operand.name + ".bias", {outputs});
      whole = whole && taken.defined() && biases.defined();
      rows += operand.kernel * operand.kernel * RoundUp(operand.channels, kPack<T>);
      if (!whole) continue;
      if (bias.size() == 0) bias = AlignedBuffer<float>(RoundUp(outputs, kLanes));
      for (int64_t i = 0; i < outputs; ++i) {
        bias.data()[column(i)] += biases.const_data_ptr<float>()[i];
      }
    }
    if (!whole) return;
    weight = PackedMatrix<T>(rows, outputs);
    int64_t row = 0;
    for (size_t i = 0; i < operands.size(); ++i) {
      const int64_t taps = operands[i].kernel * operands[i].kernel;
      const int64_t channels = RoundUp(operands[i].channels, kPack<T>);
      // In channels-last memory: [out, tap, in].
      weight.Fill(weights[i].const_data_ptr<float>(), outputs, taps, operands[i].channels, channels,
                  row, 0, column);
      row += taps * channels;
    }
  }
};

struct FusedNorm {
  int64_t channels = 0;
  int64_t groups = 1;
  AlignedBuffer<float> weight;
  AlignedBuffer<float> bias;

  FusedNorm() = default;
  FusedNorm(ParameterSource& source, const std::string& name, int64_t c)
      : channels(c),
        groups(GroupNorm::GroupsOf(source, name, static_cast<int>(c))),
        weight(TakeVector(source, name + ".weight", c)),
        bias(TakeVector(source, name + ".bias", c)) {}
};

// --- Values ---

// A picture [H, W, C] and the statistics of its lines.
struct Feature {
  AlignedBuffer<float> x;
  AlignedBuffer<float> mean;
  AlignedBuffer<float> squares;
  int64_t size = 0;  // H = W
  int64_t channels = 0;

  // Room for so many values, and so many of one line of pixels.
  Feature(int64_t values, int64_t line) : x(values), mean(line), squares(line) {}

  void Shape(int64_t pixels_across, int64_t c) {
    size = pixels_across;
    channels = c;
  }

  // Measures the lines of x, and waits for the team.
  template <typename T>
  void Measure(const Team& team) {
    const cpu::LineStatistics task = {x.data(), size, channels, mean.data(), squares.data()};
    team.Share(size, [&](int64_t begin, int64_t end) { cpu::MeasureLines<T>(task, begin, end); });
    team.Wait();
  }
};

// What is computed of one row of a batch.
template <typename T>
struct RowBuffers {
  std::vector<Feature> skips;
  std::vector<Feature> decoder;  // two, in turns
  std::vector<Feature> middle;   // one: between the convolutions of a block
  AlignedBuffer<float> image;    // with zeros around
  AlignedBuffer<T> active;       // what a convolution reads, with zeros around
  AlignedBuffer<T> raw;
  AlignedBuffer<float> raw_float;
  AlignedBuffer<T> qkv;
  AlignedBuffer<T> keys;
  AlignedBuffer<T> values;
};

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

// What one thread needs for itself.
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
        conditioning_(config, source) {
    in_conv_ = FusedConv<float>(source, {{topology_.in_conv, image_channels_, 3}},
                                topology_.in_conv_channels);
    for (const UNetBlockSpec& spec : topology_.encoder) AddBlock(source, spec);
    for (const UNetBlockSpec& spec : topology_.decoder) AddBlock(source, spec);
    const int64_t channels = topology_.decoder.back().out_channels;
    out_norm_ = FusedNorm(source, topology_.out_norm, channels);
    out_conv_ = FusedConv<T>(source, {{topology_.out_conv, channels, 3}}, out_channels);
    Need(topology_.resolution, channels, topology_.resolution);
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
    int64_t size_in = 0;
    int64_t size_out = 0;
    FusedNorm norm0;
    FusedConv<T> conv0;
    FusedNorm norm1;
    FusedConv<T> conv1;  // and the shortcut, if it projects
    FusedNorm norm2;
    FusedConv<T> qkv;
    FusedConv<T> proj;
  };

  struct Workspace {
    int64_t rows = 0;
    int threads = 0;
    AlignedBuffer<float> embedding;
    AlignedBuffer<float> conditions;
    std::vector<RowBuffers<T>> buffers;  // per thread
    std::vector<Scratch<T>> scratch;     // per thread
    std::unique_ptr<Barrier[]> barriers;  // of all threads; of the groups
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
    const std::string& name = spec.name;
    block.spec = spec;
    block.projects = HasProjectedShortcut(style, spec);
    block.size_out = topology_.resolution >> spec.level;
    block.size_in = spec.resample == Resample::kDown ? 2 * block.size_out
                    : spec.resample == Resample::kUp ? block.size_out / 2
                                                     : block.size_out;
    const int64_t in = spec.in_channels;
    const int64_t out = spec.out_channels;
    block.norm0 = FusedNorm(source, name + ".norm0", in);
    if (spec.resample != Resample::kNone) {  // their filters may be stored
      for (const char* layer : {".conv0", ".skip"}) {
        Resampler(source, name + layer, spec.resample, style.resample_filter);
      }
    }
    block.conv0 = FusedConv<T>(source, {{name + ".conv0", in, 3}}, out);
    conditioning_.AddBlock(source, name + ".affine", style.adaptive_scale ? 2 * out : out,
                           style.adaptive_scale ? nullptr : &block.conv0.bias);
    block.norm1 = FusedNorm(source, name + ".norm1", out);
    std::vector<typename FusedConv<T>::Operand> operands = {{name + ".conv1", out, 3}};
    if (block.projects) operands.push_back({name + ".skip", in, 1});
    block.conv1 = FusedConv<T>(source, operands, out);
    Need(block.size_out, in, block.size_out);
    Need(block.size_out, out, block.size_out);
    sizes_.feature = std::max(sizes_.feature, block.size_out * block.size_out * out);
    sizes_.line = std::max(sizes_.line, block.size_out * out);
    sizes_.raw = std::max(sizes_.raw, block.size_out * block.size_out * RoundUp(in, kPack<T>));
    if (spec.resample != Resample::kNone && !block.projects) {
      sizes_.raw_float = std::max(sizes_.raw_float, block.size_out * block.size_out * in);
    }
    if (spec.heads == 0) return;
    if (spec.out_channels % spec.heads != 0) {
      source.Fail(absl::InvalidArgumentError(absl::StrCat(
          "config: ", name, ".qkv would split ", out, " channels into ", spec.heads, " heads")));
      return;
    }
    block.norm2 = FusedNorm(source, name + ".norm2", out);
    block.qkv = FusedConv<T>(source, {{name + ".qkv", out, 1}}, 3 * out, 3);
    block.proj = FusedConv<T>(source, {{name + ".proj", out, 1}}, out);
    const int64_t pixels = block.size_out * block.size_out;
    const int64_t width = out / spec.heads;
    sizes_.qkv = std::max(sizes_.qkv, pixels * 3 * out);
    sizes_.raw = std::max(sizes_.raw, pixels * RoundUp(out, kPack<T>));
    sizes_.keys = std::max(sizes_.keys, spec.heads * cpu::PackedSize<T>(width, pixels));
    sizes_.values = std::max(sizes_.values, spec.heads * cpu::PackedSize<T>(pixels, width));
    sizes_.scores = std::max(sizes_.scores, cpu::kQueries * RoundUp(pixels, kLanes));
  }

  // Room for what a convolution over `channels` of height x width reads.
  void Need(int64_t height, int64_t channels, int64_t width) {
    sizes_.active =
        std::max(sizes_.active, (height + 2) * (width + 2) * RoundUp(channels, kPack<T>));
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
      workspace->embedding = AlignedBuffer<float>(rows * conditioning_.scratch_size() + kLanes);
      workspace->conditions = AlignedBuffer<float>(rows * conditioning_.outputs() + kLanes);
    }
    if (workspace->threads < threads) {
      workspace->threads = threads;
      workspace->buffers.clear();
      workspace->scratch.clear();
      for (int i = 0; i < threads; ++i) {
        workspace->buffers.push_back(MakeBuffers());
        workspace->scratch.push_back({AlignedBuffer<float>(RoundUp(sizes_.channels, kLanes)),
                                      AlignedBuffer<float>(RoundUp(sizes_.channels, kLanes)),
                                      AlignedBuffer<double>(2 * sizes_.channels),
                                      AlignedBuffer<float>(sizes_.scores),
                                      AlignedBuffer<T>(sizes_.scores)});
      }
      workspace->barriers = std::make_unique<Barrier[]>(threads + 1);
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
      add_skip(blocks_[i].size_out, blocks_[i].spec.out_channels);
    }
    for (int i = 0; i < 2; ++i) buffers.decoder.emplace_back(sizes_.feature, sizes_.line);
    buffers.middle.emplace_back(sizes_.feature, sizes_.line);
    buffers.image = AlignedBuffer<float>((size + 2) * (size + 2) * image_channels_);
    buffers.active = AlignedBuffer<T>(sizes_.active);
    buffers.raw = AlignedBuffer<T>(sizes_.raw);
    buffers.raw_float = AlignedBuffer<float>(sizes_.raw_float);
    buffers.qkv = AlignedBuffer<T>(sizes_.qkv);
    buffers.keys = AlignedBuffer<T>(sizes_.keys);
    buffers.values = AlignedBuffer<T>(sizes_.values);
    return buffers;
  }

  // What thread `me` of `threads` does of a batch.
  void Compute(const Batch& batch, Workspace& workspace, int me, int threads) const {
#pragma omp single
    {
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
    // As many rows for each thread as there are, and the rest by groups of threads.
    const int64_t alone = batch.rows / threads * threads;
    for (int64_t row = me; row < alone; row += threads) {
      ComputeRow(batch, workspace, row, me, workspace.scratch[me], Team());
    }
    const auto left = static_cast<int>(batch.rows - alone);
    for (int group = 0; group < left; ++group) {
      const int first = FirstThread(group, left, threads);
      const int last = FirstThread(group + 1, left, threads);
      if (me < first || me >= last) continue;
      const Team team(me - first, last - first, workspace.barriers[1 + group]);
      team.Wait();  // until the buffers of the first are free
      ComputeRow(batch, workspace, alone + group, first, workspace.scratch[me], team);
    }
  }

  static int FirstThread(int group, int groups, int threads) { return group * threads / groups; }

  void ComputeRow(const Batch& batch, Workspace& workspace, int64_t index, int owner,
                  Scratch<T>& scratch, const Team& team) const {
    const int64_t size = topology_.resolution;
    const int64_t image = size * size * image_channels_;
    RowBuffers<T>& buffers = workspace.buffers[owner];
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
    first.inputs[0] = {buffers.image.data(), image_channels_, image_channels_,
                       (size + 2) * image_channels_, 3};
    first.weight = in_conv_.weight.data();
    first.bias = in_conv_.bias.data();
    first.height = first.width = size;
    first.columns = topology_.in_conv_channels;
    first.out = buffers.skips[0].x.data();
    team.Share(cpu::ConvolutionUnits(first),
               [&](int64_t begin, int64_t end) { cpu::Convolve(first, begin, end); });
    team.Wait();
    buffers.skips[0].template Measure<T>(team);

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
      if (team.leads()) out.Shape(block.size_out, block.spec.out_channels);
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
    task.stride = RoundUp(norm.channels, kPack<T>);
    return task;
  }

  // Into the row's active buffer.
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

  static cpu::ConvInput<T> Padded(const T* data, int64_t channels, int64_t size) {
    const int64_t stride = RoundUp(channels, kPack<T>);
    return {data, stride, stride, (size + 2) * stride, 3};
  }
  static cpu::ConvInput<T> Pointwise(const T* data, int64_t channels, int64_t size) {
    const int64_t stride = RoundUp(channels, kPack<T>);
    return {data, stride, stride, size * stride, 1};
  }

  void Convolve(const Row& row, const FusedConv<T>& conv, int64_t size, int64_t columns,
                cpu::Convolution<T>& task, float* out) const {
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
    const int64_t size = block.size_out;
    Feature& middle = buffers.middle[0];
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

    const float* const condition =
        row.conditions + conditioning_.Place(index, row.index, row.rows);
    cpu::Convolution<T> conv0;
    conv0.inputs[0] = Padded(buffers.active.data(), spec.in_channels, size);
    if (!style.adaptive_scale) conv0.bias = condition;  // with the convolution's own
    Convolve(row, block.conv0, size, spec.out_channels, conv0, middle.x.data());
    middle.template Measure<T>(row.team);

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
      out.template Measure<T>(row.team);
      ComputeAttention(row, block, out);
    }
    out.template Measure<T>(row.team);
  }

  // out = (out + attention of it) * skip_scale.
  void ComputeAttention(const Row& row, const Block& block, Feature& out) const {
    RowBuffers<T>& buffers = row.buffers;
    const int64_t size = block.size_out;
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
    const int64_t stride = RoundUp(channels, kPack<T>);
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
      head.out_stride = stride;
      return head;
    };
    row.team.Share(heads, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) cpu::PackKeysAndValues(head_of(i));
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
  Conditioning conditioning_;
  FusedConv<float> in_conv_;
  std::vector<Block> blocks_;  // the encoder's, then the decoder's
  FusedNorm out_norm_;
  FusedConv<T> out_conv_;
  Sizes sizes_;

  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Workspace>> idle_;  // guarded by mutex_
};

}  // namespace

absl::Status CheckFused(const UNetFamilyConfig& config, Precision precision) {
#ifndef SKIPSTREAM_CPU_KERNELS
  return absl::UnimplementedError("this build has no fused kernels for its processor");
#else
  const bool has_avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (!has_avx512) {
    return absl::UnimplementedError("the fused kernels need a CPU with AVX-512 (F, BW, DQ and VL)");
  }
  if (precision == Precision::kBFloat16 && !__builtin_cpu_supports("avx512bf16")) {
    return absl::UnimplementedError("bfloat16 needs a CPU with AVX512_BF16");
  }
  if (const auto* song = std::get_if<SongUNetConfig>(&config)) {
    if (song->encoder_type != SongUNetConfig::Encoder::kStandard ||
        song->decoder_type != SongUNetConfig::Decoder::kStandard) {
      return absl::UnimplementedError(
          "networks whose encoder_type or decoder_type is not standard have no fused form");
    }
    const std::vector<double>& taps = song->resample_filter;
    if (taps.size() != 2 || taps[0] != taps[1]) {
      return absl::UnimplementedError(
          "networks whose resample_filter is not [1, 1] have no fused form");
    }
  }
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

std::unique_ptr<UNet> MakeFusedUNet(const UNetFamilyConfig& config, int out_channels,
                                    Precision precision, ParameterSource& source) {
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
