#include "server/engine/model_registry.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/metrics/metrics.h"

namespace skipstream {
namespace {

using Models = std::map<std::string, std::shared_ptr<const LoadedModel>>;

absl::Status NoSuchModel(const std::string& name, const Models& models) {
  const std::string names = absl::StrJoin(
      models, ", ", [](std::string* out, const auto& entry) { out->append(entry.first); });
  return absl::NotFoundError(absl::StrCat("no model is called '", name, "'; there are: ", names));
}

}  // namespace

absl::StatusOr<std::shared_ptr<const LoadedModel>> LoadedModel::Load(Executor& executor,
                                                                     const std::string& name,
                                                                     const std::string& path) {
  const absl::StatusOr<NetworkId> network = executor.LoadNetwork(path);
  if (!network.ok()) return network.status();
  std::shared_ptr<const LoadedModel> model(
      new LoadedModel(executor, name, *network, executor.GetNetworkInfo(*network)));
  const int channels = model->info().channels;
  if (channels != 1 && channels != 3) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": config: 'img_channels' must be 1 (grey) or 3 (RGB) to be served, got ", channels));
  }
  return model;
}

LoadedModel::LoadedModel(Executor& executor, std::string name, NetworkId network, NetworkInfo info)
    : executor_(executor),
      name_(std::move(name)),
      network_(network),
      info_(std::move(info)),
      cost_(executor.max_batch()) {}

LoadedModel::~LoadedModel() { executor_.UnloadNetwork(network_); }

absl::Status ModelRegistry::Add(std::shared_ptr<const LoadedModel> model) {
  const std::string name = model->name();
  std::lock_guard lock(mutex_);
  if (!models_.emplace(name, std::move(model)).second) {
    return absl::AlreadyExistsError(absl::StrCat("a model is already called '", name, "'"));
  }
  Offered(name);
  return absl::OkStatus();
}

std::shared_ptr<const LoadedModel> ModelRegistry::Replace(
    std::shared_ptr<const LoadedModel> model) {
  const std::string name = model->name();
  std::lock_guard lock(mutex_);
  std::shared_ptr<const LoadedModel>& place = models_[name];
  std::swap(place, model);
  if (model == nullptr) Offered(name);
  return model;
}

void ModelRegistry::Offered(const std::string& name) {
  if (models_.size() == 1) default_name_ = name;
  if (metrics_ != nullptr) metrics_->model_loaded.With({name}).Set(1);
}

absl::Status ModelRegistry::Remove(const std::string& name) {
  // Destroyed without the lock: releasing the last reference unloads the network.
  Models::node_type removed;
  std::lock_guard lock(mutex_);
  const auto it = models_.find(name);
  if (it == models_.end()) return NoSuchModel(name, models_);
  if (name == default_name_) {
    return absl::FailedPreconditionError(
        absl::StrCat("'", name, "' is the default model and cannot be unloaded"));
  }
  removed = models_.extract(it);
  if (metrics_ != nullptr) metrics_->model_loaded.With({name}).Set(0);
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const LoadedModel>> ModelRegistry::Find(
    const std::string& name) const {
  std::lock_guard lock(mutex_);
  const auto it = models_.find(name.empty() ? default_name_ : name);
  if (it == models_.end()) return NoSuchModel(name, models_);
  return it->second;
}

std::vector<std::shared_ptr<const LoadedModel>> ModelRegistry::List() const {
  std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<const LoadedModel>> models;
  for (const auto& [name, model] : models_) {
    models.insert(name == default_name_ ? models.begin() : models.end(), model);
  }
  return models;
}

std::string ModelRegistry::default_name() const {
  std::lock_guard lock(mutex_);
  return default_name_;
}

}  // namespace skipstream
