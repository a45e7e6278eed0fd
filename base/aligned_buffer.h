#ifndef SKIPSTREAM_BASE_ALIGNED_BUFFER_H_
#define SKIPSTREAM_BASE_ALIGNED_BUFFER_H_

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>

namespace skipstream::cpu {

// Holds `size` values that begin at a cache line; all bits are 0 at first. A buffer of 1 MiB or
// more is mapped from the system, in huge pages where they can be had. Its destructor returns that
// memory to the system.
template <typename T>
class AlignedBuffer {
 public:
  static_assert(std::is_trivially_copyable_v<T>);

  AlignedBuffer() = default;
  // Throws std::bad_alloc.
  explicit AlignedBuffer(int64_t size)
      : size_(size), data_(Allocate(Bytes(size)), Delete{Bytes(size)}) {}

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  int64_t size() const { return size_; }

 private:
  static constexpr std::align_val_t kAlignment{64};
  static constexpr size_t kLarge = size_t{1} << 20;

  struct Delete {
    size_t bytes = 0;
    void operator()(T* data) const {
      if (bytes < kLarge) {
        ::operator delete(data, kAlignment);
      } else {
        munmap(data, bytes);
      }
    }
  };

  static size_t Bytes(int64_t size) { return static_cast<size_t>(size) * sizeof(T); }
  static T* Allocate(size_t bytes) {
    if (bytes < kLarge) {
      void* const data = ::operator new(bytes, kAlignment);
      __builtin_memset(data, 0, bytes);
      return static_cast<T*>(data);
    }
    void* const data =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) throw std::bad_alloc();
    madvise(data, bytes, MADV_HUGEPAGE);  // where huge pages can be had
    return static_cast<T*>(data);
  }

  int64_t size_ = 0;
  std::unique_ptr<T, Delete> data_;
};

}  // namespace skipstream::cpu

#endif  // SKIPSTREAM_BASE_ALIGNED_BUFFER_H_
