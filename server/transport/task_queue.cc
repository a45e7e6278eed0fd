#include "server/transport/task_queue.h"

#include <algorithm>
#include <utility>

namespace skipstream {
namespace {

// The element that `is_it`, or a new one at the end made by `make`.
template <typename List, typename Predicate, typename Make>
typename List::reference FindOrAppend(List& list, Predicate is_it, Make make) {
  const auto found = std::find_if(list.begin(), list.end(), is_it);
  return found != list.end() ? *found : list.emplace_back(make());
}

// The first of the list had its turn: it goes to the end, or away if it has no more tasks.
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
  Tenant& tenant = FindOrAppend(
      tenants_, [&](const Tenant& one) { return one.name == owner.tenant; },
      [&] { return Tenant{.name = owner.tenant, .requests = {}}; });
  Request& request = FindOrAppend(
      tenant.requests, [&](const Request& one) { return one.request == owner.request; },
      [&] { return Request{.request = owner.request, .tasks = {}}; });
  request.tasks.push_back(std::move(task));
}

std::deque<TaskQueue::Task> TaskQueue::Remove(const TaskOwner& owner) {
  const auto tenant = std::find_if(tenants_.begin(), tenants_.end(),
                                   [&](const Tenant& one) { return one.name == owner.tenant; });
  if (tenant == tenants_.end()) return {};
  const auto request =
      std::find_if(tenant->requests.begin(), tenant->requests.end(),
                   [&](const Request& one) { return one.request == owner.request; });
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
