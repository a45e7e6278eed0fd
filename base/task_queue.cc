#include "base/task_queue.h"

#include <algorithm>
#include <utility>

namespace skipstream {
namespace {

// Returns the element of `list` that belongs to this owner, or the end.
template <typename List>
typename List::iterator Find(List& list, const TaskOwner& owner) {
  return std::find_if(list.begin(), list.end(),
                      [&](const auto& one) { return one.BelongsTo(owner); });
}

// Ends the turn of the first element: moves it to the end, or removes it if it has no more tasks.
template <typename List>
void EndTurn(List& list, bool has_more) {
  if (has_more) {
    list.splice(list.end(), list, list.begin());
  } else {
    list.pop_front();
  }
}

}  // namespace

void TaskQueue::Push(const TaskOwner& owner, Task task) {
  auto tenant = Find(tenants_, owner);
  if (tenant == tenants_.end()) {
    tenant = tenants_.insert(tenants_.end(), {.name = owner.tenant, .requests = {}});
  }
  auto request = Find(tenant->requests, owner);
  if (request == tenant->requests.end()) {
    request = tenant->requests.insert(request, {.request = owner.request, .tasks = {}});
  }
  request->tasks.push_back(std::move(task));
}

std::deque<TaskQueue::Task> TaskQueue::Remove(const TaskOwner& owner) {
  const auto tenant = Find(tenants_, owner);
  if (tenant == tenants_.end()) return {};
  const auto request = Find(tenant->requests, owner);
  if (request == tenant->requests.end()) return {};
  std::deque<Task> tasks = std::move(request->tasks);
  tenant->requests.erase(request);
  if (tenant->requests.empty()) tenants_.erase(tenant);
  return tasks;
}

TaskQueue::Task TaskQueue::Pop() {
  Tenant& tenant = tenants_.front();
  Request& request = tenant.requests.front();
  Task task = std::move(request.tasks.front());
  request.tasks.pop_front();
  EndTurn(tenant.requests, !request.tasks.empty());
  EndTurn(tenants_, !tenant.requests.empty());
  return task;
}

}  // namespace skipstream
