#include "model/backends/device_unet.h"

#include <utility>
#include <variant>

#include "ATen/ops/avg_pool2d.h"
#include "ATen/ops/cat.h"
#include "ATen/ops/conv2d.h"
#include "ATen/ops/linear.h"
#include "ATen/ops/mm.h"
#include "ATen/ops/outer.h"
#include "ATen/ops/scaled_dot_product_attention.h"
#include "ATen/ops/silu.h"

namespace skipstream {
namespace {

// [B, H, W, C] as LibTorch's convolutions have it, and back: views.
at::Tensor AsImages(const at::Tensor& x) { return x.permute({0, 3, 1, 2}); }
at::Tensor AsFeatures(const at::Tensor& x) { return x.permute({0, 2, 3, 1}).contiguous(); }

at::Tensor Convolve(const at::Tensor& x, const at::Tensor& weight) {
  return AsFeatures(at::conv2d(AsImages(x), weight, /*bias=*/{}, /*stride=*/1,
                               /*padding=*/(weight.size(2) - 1) / 2));
}

// A 1x1 convolution: weight [in, out].
at::Tensor Mix(const at::Tensor& x, const at::Tensor& weight) {
  return at::mm(x.view({-1, x.size(3)}), weight)
      .view({x.size(0), x.size(1), x.size(2), weight.size(1)});
}

// Rows (c, part) of a weight or bias become (part, c).
at::Tensor Regrouped(const at::Tensor& x, int64_t parts) {
  if (!x.defined()) return x;
  const int64_t rows = x.size(0);
  return x.reshape({rows / parts, parts, -1}).transpose(0, 1).reshape_as(x);
}

at::Tensor Plus(const at::Tensor& a, const at::Tensor& b) {
  return a.defined() && b.defined() ? a.add(b) : at::Tensor();
}

}  // namespace

DeviceUNet::DeviceUNet(const SongUNetConfig& config, int out_channels, Precision precision,
                       ParameterSource& source, const Device& device, UNetKernels& kernels)
    : DeviceUNet(TopologyOf(config), config.img_channels, config.label_dim, precision, device,
                 kernels) {
  TakeEverything(source, TakeEmbedding(source, config), out_channels);
}

DeviceUNet::DeviceUNet(const DhariwalUNetConfig& config, int out_channels, Precision precision,
                       ParameterSource& source, const Device& device, UNetKernels& kernels)
    : DeviceUNet(TopologyOf(config), config.img_channels, config.label_dim, precision, device,
                 kernels) {
  TakeEverything(source, TakeEmbedding(source, config), out_channels);
}

DeviceUNet::DeviceUNet(UNetTopology topology, int image_channels, int label_dim,
                       Precision precision, const Device& device, UNetKernels& kernels)
    : topology_(std::move(topology)),
      image_channels_(image_channels),
      label_dim_(label_dim),
      type_(precision == Precision::kBFloat16 ? at::kBFloat16 : at::kFloat),
      device_(device.device()),
      kernels_(kernels) {}

void DeviceUNet::TakeEverything(ParameterSource& source, const EmbeddingParameters& embedding,
                                int out_channels) {
  map_noise_ = embedding.map_noise;
  frequencies_ = map_noise_.frequencies();
  label_first_ = embedding.label_first;
  label_weight_ = embedding.map_label.weight;
  if (label_weight_.defined() && embedding.label_factor != 1.0f) {
    label_weight_ = label_weight_.mul(embedding.label_factor);
  }
  label_bias_ = embedding.map_label.bias;
  layer0_weight_ = embedding.layer0.weight;
  layer0_bias_ = embedding.layer0.bias;
  layer1_weight_ = embedding.layer1.weight;
  layer1_bias_ = embedding.layer1.bias;

  in_conv_ = TakeConv(source, topology_.in_conv, image_channels_, topology_.in_conv_channels, 3);
  for (const UNetBlockSpec& spec : topology_.encoder) AddBlock(source, spec);
  for (const UNetBlockSpec& spec : topology_.decoder) AddBlock(source, spec);
  const int channels = topology_.decoder.back().out_channels;
  out_norm_ = TakeNorm(source, topology_.out_norm, channels);
  out_conv_ = TakeConv(source, topology_.out_conv, channels, out_channels, 3);
}

void DeviceUNet::AddBlock(ParameterSource& source, const UNetBlockSpec& spec) {
  const UNetBlockStyle& style = topology_.style;
  const int64_t in = spec.in_channels;
  const int64_t out = spec.out_channels;
  const BlockParameters parameters = TakeBlock(source, style, spec);
  // In the type of features.
  const auto rounded = [&](const at::Tensor& weight) {
    return weight.defined() ? weight.to(type_) : weight;
  };
  const auto matrix = [&](const at::Tensor& kernel) {
    return kernel.defined() ? rounded(kernel).view({kernel.size(0), kernel.size(1)}) : kernel;
  };
  Block& block = blocks_.emplace_back();
  block.spec = spec;
  block.norm0 = parameters.norm0;
  block.conv0 = {rounded(parameters.conv0.weight), parameters.conv0.bias};
  const int64_t conditions = style.adaptive_scale ? 2 * out : out;
  affine_weights_.push_back(parameters.affine.weight);
  affine_biases_.push_back(style.adaptive_scale ? parameters.affine.bias
                                                : Plus(parameters.affine.bias, block.conv0.bias));
  block.first_condition = conditions_;
  conditions_ += conditions;
  block.norm1 = parameters.norm1;
  block.conv1_weight = rounded(parameters.conv1.weight);
  block.out_bias = parameters.conv1.bias;
  if (const LayerParameters& shortcut = parameters.shortcut; shortcut.defined()) {
    block.out_bias = Plus(block.out_bias, shortcut.bias);
    const at::Tensor weight = matrix(shortcut.weight).t().contiguous();
    block.shortcut = weight.narrow(0, 0, in - spec.skip_channels).contiguous();
    if (spec.skip_channels > 0) {
      block.skip_shortcut =
          weight.narrow(0, in - spec.skip_channels, spec.skip_channels).contiguous();
    }
  }
  if (spec.heads == 0) return;
  block.norm2 = parameters.norm2;
  block.qkv_weight = Regrouped(matrix(parameters.qkv.weight), 3);
  block.qkv_bias = rounded(Regrouped(parameters.qkv.bias, 3));
  block.proj_weight = matrix(parameters.proj.weight);
  block.proj_bias = parameters.proj.bias;
}

void DeviceUNet::ForEachTensor(absl::FunctionRef<void(at::Tensor&)> visit) {
  const auto norm = [&](NormParameters& n) {
    visit(n.weight);
    visit(n.bias);
  };
  const auto conv = [&](LayerParameters& c) {
    visit(c.weight);
    visit(c.bias);
  };
  for (at::Tensor* tensor :
       {&frequencies_, &label_weight_, &label_bias_, &layer0_weight_, &layer0_bias_,
        &layer1_weight_, &layer1_bias_, &affine_weight_, &affine_bias_}) {
    visit(*tensor);
  }
  conv(in_conv_);
  for (Block& block : blocks_) {
    norm(block.norm0);
    conv(block.conv0);
    norm(block.norm1);
    for (at::Tensor* tensor :
         {&block.conv1_weight, &block.shortcut, &block.skip_shortcut, &block.out_bias,
          &block.qkv_weight, &block.qkv_bias, &block.proj_weight, &block.proj_bias}) {
      visit(*tensor);
    }
    norm(block.norm2);
  }
  norm(out_norm_);
  conv(out_conv_);
}

void DeviceUNet::MoveToDevice() {
  affine_weight_ = at::cat(affine_weights_, 0);
  affine_bias_ = at::cat(affine_biases_, 0);
  affine_weights_.clear();
  affine_biases_.clear();
  ForEachTensor([this](at::Tensor& tensor) {
    if (tensor.defined()) tensor = tensor.to(device_);
  });
}

at::Tensor DeviceUNet::Conditions(const at::Tensor& c_noise, const at::Tensor& labels) const {
  const at::Tensor angles = at::outer(c_noise, frequencies_);
  at::Tensor noise = map_noise_.order() == NoiseEmbedding::Order::kSinesFirst
                         ? at::cat({angles.sin(), angles.cos()}, 1)
                         : at::cat({angles.cos(), angles.sin()}, 1);
  const auto with_label = [&](const at::Tensor& x) {
    return x.add(at::linear(labels, label_weight_, label_bias_));
  };
  if (label_dim_ > 0 && label_first_) noise = with_label(noise);
  at::Tensor emb = at::silu(at::linear(noise, layer0_weight_, layer0_bias_));
  emb = at::linear(emb, layer1_weight_, layer1_bias_);
  if (label_dim_ > 0 && !label_first_) emb = with_label(emb);
  return at::linear(at::silu(emb), affine_weight_, affine_bias_);
}

NormTask DeviceUNet::TaskOf(const NormParameters& norm, const DeviceFeature& x) const {
  NormTask task;
  task.x = &x;
  task.weight = norm.weight;
  task.bias = norm.bias;
  task.groups = norm.groups;
  task.epsilon = topology_.style.epsilon;
  task.type = type_;
  return task;
}

DeviceFeature DeviceUNet::ComputeBlock(const Block& block, const DeviceFeature& x,
                                       const DeviceFeature* skip, const at::Tensor& rho,
                                       const at::Tensor& conditions) const {
  const UNetBlockStyle& style = topology_.style;
  const int64_t out = block.spec.out_channels;
  NormTask first = TaskOf(block.norm0, x);
  first.skip = skip;
  first.rho = rho;
  first.resample = block.spec.resample;
  const at::Tensor h = Convolve(kernels_.Normalize(first), block.conv0.weight);

  // Without adaptive scale the convolution's bias is part of the conditions.
  const at::Tensor added = style.adaptive_scale ? block.conv0.bias.unsqueeze(0)
                                                : conditions.narrow(1, block.first_condition, out);
  const DeviceFeature middle = kernels_.Measure(h, added);
  NormTask second = TaskOf(block.norm1, middle);
  second.added = added;
  if (style.adaptive_scale) {
    second.scale = conditions.narrow(1, block.first_condition, out);
    second.shift = conditions.narrow(1, block.first_condition + out, out);
  }

  SumTask sum;
  sum.main = Convolve(kernels_.Normalize(second), block.conv1_weight);
  sum.bias = block.out_bias;
  sum.scale = style.skip_scale;
  sum.resample = block.spec.resample;
  sum.shortcut = x.x;
  if (block.shortcut.defined()) {
    // A 1x1 convolution and an average or copy of pixels can change places: the fewer pixels go
    // through the product.
    if (sum.resample == Resample::kDown) {
      sum.shortcut = AsFeatures(at::avg_pool2d(AsImages(x.x), 2));
      sum.resample = Resample::kNone;
    }
    sum.shortcut = Mix(sum.shortcut, block.shortcut);
    if (skip != nullptr) {
      sum.second = Mix(skip->x, block.skip_shortcut);
      sum.rho = rho;
    }
  }
  DeviceFeature result = kernels_.Sum(sum);
  return block.spec.heads > 0 ? Attend(block, result) : result;
}

DeviceFeature DeviceUNet::Attend(const Block& block, const DeviceFeature& x) const {
  const int64_t batch = x.x.size(0);
  const int64_t pixels = x.x.size(1) * x.x.size(2);
  const int64_t channels = x.x.size(3);
  const int64_t heads = block.spec.heads;
  NormTask norm = TaskOf(block.norm2, x);
  norm.silu = false;
  const at::Tensor qkv = at::linear(kernels_.Normalize(norm), block.qkv_weight, block.qkv_bias)
                             .view({batch, pixels, 3, heads, channels / heads});
  const auto part = [&](int64_t i) { return qkv.select(2, i).transpose(1, 2); };
  const at::Tensor mixed = at::scaled_dot_product_attention(part(0), part(1), part(2))
                               .transpose(1, 2)
                               .reshape(x.x.sizes());
  SumTask sum;
  sum.main = at::linear(mixed, block.proj_weight);
  sum.bias = block.proj_bias;
  sum.shortcut = x.x;
  sum.scale = topology_.style.skip_scale;
  return kernels_.Sum(sum);
}

at::Tensor DeviceUNet::Forward(const at::Tensor& x, const at::Tensor& c_noise,
                               const at::Tensor& labels, const at::Tensor& rho) const {
  const at::Tensor conditions = Conditions(c_noise, labels);
  SumTask first;
  first.main = Convolve(x.permute({0, 2, 3, 1}), in_conv_.weight).to(type_);
  first.bias = in_conv_.bias;
  std::vector<DeviceFeature> skips = {kernels_.Sum(first)};
  const size_t encoders = topology_.encoder.size();
  const at::Tensor no_rho;
  for (size_t i = 0; i < encoders; ++i) {
    skips.push_back(ComputeBlock(blocks_[i], skips.back(), nullptr, no_rho, conditions));
  }
  DeviceFeature h = skips.back();
  for (size_t i = encoders; i < blocks_.size(); ++i) {
    if (blocks_[i].spec.skip_channels > 0) {
      const DeviceFeature skip = std::move(skips.back());
      skips.pop_back();
      const auto joined = topology_.num_skips() - 1 - static_cast<int64_t>(skips.size());
      h = ComputeBlock(blocks_[i], h, &skip, rho.select(1, joined), conditions);
    } else {
      h = ComputeBlock(blocks_[i], h, nullptr, no_rho, conditions);
    }
  }
  NormTask norm = TaskOf(out_norm_, h);
  norm.type = at::kFloat;
  return at::conv2d(AsImages(kernels_.Normalize(norm)), out_conv_.weight, out_conv_.bias,
                    /*stride=*/1, /*padding=*/1);
}

absl::StatusOr<std::unique_ptr<UNet>> MakeDeviceUNet(const ModelDescription& model,
                                                     Precision precision, ParameterSource& source,
                                                     const Device& device, UNetKernels& kernels) {
  return std::visit(
      [&](const auto& family) -> absl::StatusOr<std::unique_ptr<UNet>> {
        if (absl::Status status = CheckPlain(family); !status.ok()) return status;
        return std::make_unique<DeviceUNet>(family, model.out_channels(), precision, source, device,
                                            kernels);
      },
      model.config);
}

}  // namespace skipstream
