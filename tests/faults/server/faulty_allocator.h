// Makes LibTorch run out of memory, or worse, on command. No LibTorch header is needed to use it.
#ifndef SKIPSTREAM_TESTS_FAULTS_SERVER_FAULTY_ALLOCATOR_H_
#define SKIPSTREAM_TESTS_FAULTS_SERVER_FAULTY_ALLOCATOR_H_

namespace skipstream {

enum class AllocationFault {
  kBadAlloc,  // std::bad_alloc
  kTorchOom,  // c10::OutOfMemoryError
  kOther,     // a std::exception that has nothing to do with memory
};

// Puts itself in front of LibTorch's allocator of CPU memory. Once, before any tensor is made.
void InstallFaultyAllocator();

// The next `count` tensors that any thread makes throw instead; 0: none. Thread-safe.
void FailAllocations(int count, AllocationFault fault);

}  // namespace skipstream

#endif  // SKIPSTREAM_TESTS_FAULTS_SERVER_FAULTY_ALLOCATOR_H_
