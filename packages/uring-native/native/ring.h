// An io_uring by its system calls: set-up, submission, completion, registration. Knows nothing of JavaScript or libuv.
#pragma once

#include <linux/io_uring.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "fault_table.h"

namespace holt {

// Opcodes by number (linux/io_uring.h), so that the headers of an older kernel suffice to build.
enum RingOpcode : uint8_t {
  kOpNop = 0,
  kOpFsync = 3,
  kOpReadFixed = 4,
  kOpWriteFixed = 5,
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

// The opcode of what is no completion of an operation: refused before it began, foreign, stale or twice.
constexpr uint8_t kNoOpcode = 255;

// Flags of a submission entry that callers may set.
constexpr uint8_t kEntryFixedFile = 1u << 0;
constexpr uint8_t kEntryLink = 1u << 2;
constexpr uint8_t kEntryHardLink = 1u << 3;

struct RingCompletion {
  uint32_t slot;
  uint32_t generation;
  int32_t result;
  uint8_t opcode;
};

struct RingOptions {
  uint32_t entries = 0;
  // At least 0: a thread of the kernel submits, and sleeps after so long without work.
  int32_t submissionThreadIdleMs = -1;
  uint32_t fileTable = 0;
  uint32_t bufferTable = 0;
};

struct RingUse {
  uint64_t enters = 0;
  uint64_t fixedFileOperations = 0;
  uint64_t fixedBufferOperations = 0;
};

// Operations are named by a slot below `entries()` and a generation that the caller gives; a slot is busy from Prepare
// until its completion was harvested, so never more operations are outstanding than there are slots, and the completion
// queue (twice as long) cannot overflow. Completions that match no busy slot are passed on as they came, for the caller
// to judge; they free nothing.
class Ring {
 public:
  // A ring of at most `entries` (the kernel may clamp), or nullptr and a negative errno in `error`.
  static std::unique_ptr<Ring> Create(const RingOptions& options, int* error);
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  uint32_t entries() const { return entries_; }
  uint32_t completionEntries() const { return cqMask_ + 1; }
  uint32_t setupFlags() const { return setupFlags_; }
  // Zero, or the negative errno that refused the kernel thread or the table; the ring works without then.
  int submissionThreadRefusal() const { return submissionThreadRefusal_; }
  int fileTableRefusal() const { return fileTableRefusal_; }
  int bufferTableRefusal() const { return bufferTableRefusal_; }
  const RingUse& use() const { return use_; }

  // What is prepared or with the kernel. A lost completion is not with the kernel any more, but nobody heard of it.
  uint32_t inFlight() const { return inFlight_; }
  uint32_t owned() const { return inFlight_ > Lost() ? inFlight_ - Lost() : 0; }
  // Zero, or the negative errno after which the ring is of no use.
  int broken() const { return broken_; }

  int eventFd() const { return eventFd_; }
  bool Supports(uint8_t opcode) const;
  bool IsFree(uint32_t slot) const { return slot < entries_ && !slots_[slot].busy; }

  // Takes an entry over for a slot that is free; opcode and user_data are set here. Where a registered buffer holds the
  // whole range of a read or write, the fixed opcode is used. Nothing reaches the kernel before Submit.
  void Prepare(uint32_t slot, uint32_t generation, uint8_t opcode, const io_uring_sqe& filled);
  // Takes the latest `count` prepared entries back. Their slots are free again.
  void Unprepare(uint32_t count);

  // Hands the prepared entries to the kernel. What it refuses for good is withdrawn and reported by `refused` with its
  // slot and errno; nothing stays queued.
  void Submit(std::vector<RingCompletion>* refused);

  // Appends everything that has completed. Afterwards the eventfd is signalled for whatever completes next.
  void Harvest(std::vector<RingCompletion>* completions);

  // Blocks until something has completed or the time is over (negative: without end).
  void Wait(double timeoutMs, uint32_t atLeast);

  // Asks the kernel to give up the operation in this slot; it completes in any case. Everything prepared must have
  // been submitted.
  void Cancel(uint32_t slot, uint32_t generation);

  // Blocks until nothing is outstanding, cancelling what can be. False if that cannot be known: the kernel may still
  // use the memory.
  bool CancelAndDrain(std::vector<RingCompletion>* completions);

  // Puts a descriptor (-1: none) into the table. Zero or a negative errno.
  int SetFile(uint32_t index, int fd);
  // Registers memory (nullptr: none) under the index. Zero or a negative errno.
  int SetBuffer(uint32_t index, uint8_t* data, size_t length);

 private:
  struct Slot {
    uint32_t generation = 0;
    uint8_t opcode = 0;
    bool busy = false;
    Fault fault;
  };
  struct RegisteredBuffer {
    uintptr_t base;
    size_t length;
    uint32_t index;
  };

  Ring() = default;
  int Setup(const RingOptions& options);
  int OpenRing(const RingOptions& options, io_uring_params* params);
  int MapQueues(const io_uring_params& params);
  void MakeTables(const RingOptions& options);
  int Enter(uint32_t submit, uint32_t waitFor, uint32_t flags);
  int EnterKernel(uint32_t submit, uint32_t waitFor, uint32_t flags);
  bool HasSubmissionThread() const;
  uint32_t Unsubmitted() const;
  uint32_t Lost() const;
  io_uring_sqe* NextEntry();
  void SubmitToThread();
  void Withdraw(uint32_t from, int error, std::vector<RingCompletion>* refused);
  void CutChain(uint32_t from, std::vector<RingCompletion>* refused);
  void FreeSlot(uint32_t slot);
  const RegisteredBuffer* FindBuffer(uint64_t address, uint32_t length) const;
  void TakeCompletions(std::vector<RingCompletion>* completions);
  void SetEventFdEnabled(bool enabled);
  // Lets the kernel run what it has put off for this thread, and takes completions.
  void RunWork(std::vector<RingCompletion>* completions);
  bool HasPendingWork() const;

  int ringFd_ = -1;
  int eventFd_ = -1;
  uint32_t entries_ = 0;
  uint32_t setupFlags_ = 0;
  uint32_t features_ = 0;
  uint32_t inFlight_ = 0;
  uint32_t dropped_ = 0;  // completions that a fault has swallowed
  int broken_ = 0;
  int submissionThreadRefusal_ = 0;
  int fileTableRefusal_ = 0;
  int bufferTableRefusal_ = 0;
  RingUse use_;
  std::vector<bool> supported_;
  std::vector<Slot> slots_;
  std::vector<RegisteredBuffer> buffers_;  // ascending by address

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
  uint32_t tail_ = 0;  // behind the last prepared entry; the kernel sees it at Submit
  uint32_t* cqHead_ = nullptr;
  uint32_t* cqTail_ = nullptr;
  uint32_t* cqFlags_ = nullptr;
  uint32_t* cqOverflow_ = nullptr;
  io_uring_cqe* cqes_ = nullptr;
  uint32_t cqMask_ = 0;
};

}  // namespace holt
