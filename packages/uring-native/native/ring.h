// An io_uring by its system calls: set-up, submission, completion. Knows nothing of JavaScript or libuv.
#pragma once

#include <linux/io_uring.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace holt {

// Opcodes by number (linux/io_uring.h), so that the headers of an older kernel suffice to build.
enum RingOpcode : uint8_t {
  kOpNop = 0,
  kOpFsync = 3,
  kOpAsyncCancel = 14,
  kOpFallocate = 17,
  kOpOpenat = 18,
  kOpClose = 19,
  kOpStatx = 21,
  kOpRead = 22,
  kOpWrite = 23,
  kOpRenameat = 35,
  kOpUnlinkat = 36,
  kOpMkdirat = 37,
  kOpLinkat = 39,
  kOpFtruncate = 55,
};

struct RingCompletion {
  uint32_t slot;
  int32_t result;
  uint8_t opcode;
};

// Operations are named by a slot below `entries()`; a slot is busy from Prepare until its completion was harvested, so
// never more operations are outstanding than there are slots, and the completion queue (twice as long) cannot overflow.
// The user_data of an operation is slot and generation; a completion whose generation is not the slot's is stale and
// is counted, not delivered.
class Ring {
 public:
  // A ring of at most `entries` (the kernel may clamp), or nullptr and a negative errno in `error`.
  static std::unique_ptr<Ring> Create(uint32_t entries, int* error);
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  uint32_t entries() const { return entries_; }
  uint32_t setupFlags() const { return setupFlags_; }
  uint32_t inFlight() const { return inFlight_; }
  uint32_t staleCompletions() const { return staleCompletions_; }
  int eventFd() const { return eventFd_; }
  bool Supports(uint8_t opcode) const;

  // A cleared submission entry for the slot, or nullptr if the slot is out of range or busy.
  io_uring_sqe* Prepare(uint32_t slot, uint8_t opcode);

  // Hands the prepared entries to the kernel. What it refuses for good is withdrawn and reported by `refused` with its
  // slot and errno; nothing stays queued.
  void Submit(std::vector<RingCompletion>* refused);

  // Appends everything that has completed. Afterwards the eventfd is signalled for whatever completes next.
  void Harvest(std::vector<RingCompletion>* completions);

  // Blocks until nothing is outstanding, asking the kernel to cancel what can be. For the end of an environment.
  void CancelAndDrain(std::vector<RingCompletion>* completions);

 private:
  struct Slot {
    uint32_t generation = 0;
    uint8_t opcode = 0;
    bool busy = false;
  };

  Ring() = default;
  int Setup(uint32_t entries);
  int MapQueues(const io_uring_params& params);
  int Enter(uint32_t submit, uint32_t waitFor, uint32_t flags);
  uint32_t Unsubmitted() const;
  void TakeCompletions(std::vector<RingCompletion>* completions);
  void SetEventFdEnabled(bool enabled);
  bool HasPendingWork() const;

  int ringFd_ = -1;
  int eventFd_ = -1;
  uint32_t entries_ = 0;
  uint32_t setupFlags_ = 0;
  uint32_t inFlight_ = 0;
  uint32_t staleCompletions_ = 0;
  std::vector<bool> supported_;
  std::vector<Slot> slots_;

  void* queueMemory_ = nullptr;
  size_t queueBytes_ = 0;
  void* completionMemory_ = nullptr;  // of its own on kernels without the single mapping
  size_t completionBytes_ = 0;
  io_uring_sqe* sqes_ = nullptr;
  size_t sqeBytes_ = 0;

  uint32_t* sqHead_ = nullptr;
  uint32_t* sqTail_ = nullptr;
  uint32_t* sqFlags_ = nullptr;
  uint32_t* sqArray_ = nullptr;
  uint32_t sqMask_ = 0;
  uint32_t* cqHead_ = nullptr;
  uint32_t* cqTail_ = nullptr;
  uint32_t* cqFlags_ = nullptr;
  io_uring_cqe* cqes_ = nullptr;
  uint32_t cqMask_ = 0;
};

}  // namespace holt
