// Tasks that wait for a thread.
#ifndef SKIPSTREAM_BASE_TASK_QUEUE_H_
#define SKIPSTREAM_BASE_TASK_QUEUE_H_

#include <deque>
#include <functional>
#include <list>
#include <string>

namespace skipstream {

// Whose task it is. Tasks of one owner keep their order.
struct TaskOwner {
  std::string tenant;
  const void* request = nullptr;  // told from others by its address alone
};

// In turns: tenants take turns, whatever their weights, and in a tenant's turns its requests. So
// however many tasks others have, a request's next one waits for one of each other request of its
// tenant, and before every one of these, and its own, for one of each other tenant. Not
// thread-safe.
class TaskQueue {
 public:
  using Task = std::function<void()>;

  void Push(const TaskOwner& owner, Task task);
  Task Pop();  // not of an empty queue
  // What waits of this owner, which is forgotten.
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
    std::list<Request> requests;  // never empty; whose turn it is first
    bool BelongsTo(const TaskOwner& owner) const { return name == owner.tenant; }
  };

  std::list<Tenant> tenants_;  // whose turn it is first
};

}  // namespace skipstream

#endif  // SKIPSTREAM_BASE_TASK_QUEUE_H_
