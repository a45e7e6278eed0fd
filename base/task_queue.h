// Queues tasks until a thread is free.
#ifndef SKIPSTREAM_BASE_TASK_QUEUE_H_
#define SKIPSTREAM_BASE_TASK_QUEUE_H_

#include <deque>
#include <functional>
#include <list>
#include <string>

namespace skipstream {

// Names the owner of a task. Tasks of one owner keep their order.
struct TaskOwner {
  std::string tenant;
  const void* request = nullptr;  // identified by its address alone
};

// Hands out tasks by turns: tenants alternate regardless of their weights, and so do the requests
// of a tenant. A request's next task therefore waits for at most one task of each other request of
// its tenant. Before each of these, and before its own, it waits for one of each other tenant. Not
// thread-safe.
class TaskQueue {
 public:
  using Task = std::function<void()>;

  void Push(const TaskOwner& owner, Task task);
  Task Pop();  // the queue must not be empty
  // Removes and returns the tasks of this owner.
  std::deque<Task> Remove(const TaskOwner& owner);
  bool empty() const { return tenants_.empty(); }

 private:
  struct Request {
    const void* request;
    std::deque<Task> tasks;  // never empty
    bool BelongsTo(const TaskOwner& owner) const { return request == owner.request; }
  };
  struct Tenant {
    std::string name;
    std::list<Request> requests;  // never empty; the next in turn comes first
    bool BelongsTo(const TaskOwner& owner) const { return name == owner.tenant; }
  };

  std::list<Tenant> tenants_;  // the next in turn comes first
};

}  // namespace skipstream

#endif  // SKIPSTREAM_BASE_TASK_QUEUE_H_
