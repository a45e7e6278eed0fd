// Tasks that wait for a thread.
#ifndef SKIPSTREAM_SERVER_TRANSPORT_TASK_QUEUE_H_
#define SKIPSTREAM_SERVER_TRANSPORT_TASK_QUEUE_H_

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

// In turns: tenants take turns, whatever their weights, and so do the requests of each. So a task
// waits for one of every other tenant and one of every other request of its own, however many they
// have. Not thread-safe.
class TaskQueue {
 public:
  using Task = std::function<void()>;

  void Push(const TaskOwner& owner, Task task);
  Task Pop();  // not of an empty queue
  bool empty() const { return tenants_.empty(); }

 private:
  struct Request {
    const void* request;
    std::deque<Task> tasks;  // never empty
  };
  struct Tenant {
    std::string name;
    std::list<Request> requests;  // never empty; whose turn it is first
  };

  std::list<Tenant> tenants_;  // whose turn it is first
};

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_TRANSPORT_TASK_QUEUE_H_
