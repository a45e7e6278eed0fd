// Registers the models that the server offers by name.
#ifndef SKIPSTREAM_SERVER_ENGINE_MODEL_REGISTRY_H_
#define SKIPSTREAM_SERVER_ENGINE_MODEL_REGISTRY_H_

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model/executor.h"
#include "model/network_info.h"
#include "server/engine/cost_model.h"

namespace skipstream {

struct ModelMetrics;

// Holds a network in an executor and unloads it when the last reference goes. A job holds one, so
// running requests finish on the weights they started with.
class LoadedModel {
 public:
  static absl::StatusOr<std::shared_ptr<const LoadedModel>> Load(Executor& executor,
                                                                 const std::string& name,
                                                                 const std::string& path);
  ~LoadedModel();
  LoadedModel(const LoadedModel&) = delete;
  LoadedModel& operator=(const LoadedModel&) = delete;

  const std::string& name() const { return name_; }
  const NetworkInfo& info() const { return info_; }
  NetworkId network() const { return network_; }
  CostModel& cost() const { return cost_; }  // thread-safe

 private:
  LoadedModel(Executor& executor, std::string name, NetworkId network, NetworkInfo info);

  Executor& executor_;
  const std::string name_;
  const NetworkId network_;
  const NetworkInfo info_;
  mutable CostModel cost_;
};

// Maps names to models. Thread-safe.
class ModelRegistry {
 public:
  // `metrics` outlives this object and may be null in tests.
  explicit ModelRegistry(ModelMetrics* metrics = nullptr) : metrics_(metrics) {}

  // Adds a model; the first one is the default. AlreadyExists if a model of that name is there.
  absl::Status Add(std::shared_ptr<const LoadedModel> model);
  // Offers a model under its name from now on. It replaces the model that had the name, if any,
  // which is returned (else null), also as the default. A concurrent Find() gets one or the other.
  std::shared_ptr<const LoadedModel> Replace(std::shared_ptr<const LoadedModel> model);
  // Stops offering a model. NotFound (listing the known names) if it is not there.
  // FailedPrecondition for the default model: the server always has one.
  absl::Status Remove(const std::string& name);
  // Returns the model; an empty name means the default one. NotFound lists the known names.
  absl::StatusOr<std::shared_ptr<const LoadedModel>> Find(const std::string& name) const;
  std::vector<std::shared_ptr<const LoadedModel>> List() const;  // default first, then by name
  std::string default_name() const;

 private:
  void Offered(const std::string& name);  // needs mutex_; after a name was added

  ModelMetrics* const metrics_;
  mutable std::mutex mutex_;
  std::string default_name_;
  std::map<std::string, std::shared_ptr<const LoadedModel>> models_;
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_ENGINE_MODEL_REGISTRY_H_
