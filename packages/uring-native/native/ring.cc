#include "ring.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#ifndef __NR_io_uring_setup
#define __NR_io_uring_setup 425
#define __NR_io_uring_enter 426
#define __NR_io_uring_register 427
#endif

namespace holt {
namespace {

constexpr uint32_t kSetupSubmissionThread = 1u << 1;
constexpr uint32_t kSetupClamp = 1u << 4;
constexpr uint32_t kSetupCoopTaskrun = 1u << 8;
constexpr uint32_t kSetupTaskrunFlag = 1u << 9;
constexpr uint32_t kSetupSingleIssuer = 1u << 12;
constexpr uint32_t kSetupDeferTaskrun = 1u << 13;
constexpr uint32_t kFeatSingleMmap = 1u << 0;
constexpr uint32_t kFeatExtArg = 1u << 8;
// The kernel runs 20 pieces of work in a call that waits for nothing.
constexpr uint32_t kWorkPerLook = 16;
constexpr uint32_t kSpareLooks = 2;

constexpr uint32_t kEnterGetEvents = 1u << 0;
constexpr uint32_t kEnterWakeUp = 1u << 1;
constexpr uint32_t kEnterWaitForRoom = 1u << 2;
constexpr uint32_t kEnterExtArg = 1u << 3;
constexpr uint32_t kSqNeedsWakeUp = 1u << 0;
constexpr uint32_t kSqCqOverflow = 1u << 1;
constexpr uint32_t kSqTaskrun = 1u << 2;
constexpr uint32_t kCqEventFdDisabled = 1u << 0;
constexpr uint32_t kRegisterFiles = 2;
constexpr uint32_t kRegisterEventFd = 4;
constexpr uint32_t kRegisterFilesUpdate = 6;
constexpr uint32_t kRegisterProbe = 8;
constexpr uint32_t kRegisterBuffers2 = 15;
constexpr uint32_t kRegisterBuffersUpdate = 16;
constexpr uint32_t kRegisterSparse = 1u << 0;
constexpr uint32_t kProbeOps = 256;

// The user_data of entries that have no slot: no generation is ever 0.
constexpr uint64_t kNoSlot = 0;

// How often a submission is repeated when the kernel is out of memory for requests.
constexpr int kBusyRetries = 64;

// How often the end of a ring looks again for completions that the kernel does not hand over.
constexpr int kDrainLooks = 1000;
constexpr int64_t kNsPerMs = 1'000'000;

// Arguments of the registering calls by their layout, which headers before 5.13 do not have.
struct RegisterTable {
  uint32_t count;
  uint32_t flags;
  uint64_t reserved;
  uint64_t data;
  uint64_t tags;
};
struct UpdateTable {
  uint32_t offset;
  uint32_t reserved;
  uint64_t data;
  uint64_t tags;
  uint32_t count;
  uint32_t reserved2;
};
struct UpdateFiles {
  uint32_t offset;
  uint32_t reserved;
  uint64_t fds;
};
struct WaitArgument {
  uint64_t signalMask;
  uint32_t signalMaskBytes;
  uint32_t reserved;
  uint64_t timespecAddress;
};
struct KernelTimespec {
  int64_t seconds;
  int64_t nanoseconds;
};

uint32_t LoadAcquire(const uint32_t* word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
void StoreRelease(uint32_t* word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }

uint64_t Address(const void* pointer) { return static_cast<uint64_t>(reinterpret_cast<uintptr_t>(pointer)); }
uint64_t UserData(uint32_t slot, uint32_t generation) { return (static_cast<uint64_t>(generation) << 32) | slot; }

int Register(int ringFd, uint32_t operation, const void* argument, uint32_t count) {
  return syscall(__NR_io_uring_register, ringFd, operation, argument, count) < 0 ? -errno : 0;
}

// Zero, or the errno a test has asked for.
int FaultErrno(uint32_t point) {
  const Fault fault = NextFault(point);
  return fault.kind == FaultKind::kErrno ? -static_cast<int>(fault.value) : 0;
}

// All entries, or as many as a test lets the kernel take at once.
uint32_t AtMost(uint32_t entries) {
  const Fault fault = NextFault(kFaultRingTake);
  return fault.kind == FaultKind::kShort ? std::min(entries, fault.value) : entries;
}

}  // namespace

std::unique_ptr<Ring> Ring::Create(const RingOptions& options, int* error) {
  std::unique_ptr<Ring> ring(new Ring());
  *error = ring->Setup(options);
  if (*error != 0) return nullptr;
  return ring;
}

Ring::~Ring() {
  // Closing the ring gives registered files and buffers back too.
  if (ringFd_ >= 0) close(ringFd_);
  if (eventFd_ >= 0) close(eventFd_);
  if (sqes_ != nullptr) munmap(sqes_, sqeBytes_);
  if (completionMemory_ != nullptr) munmap(completionMemory_, completionBytes_);
  if (queueMemory_ != nullptr) munmap(queueMemory_, queueBytes_);
}

int Ring::OpenRing(const RingOptions& options, io_uring_params* params) {
  // From the best to the plainest: completions only when this thread asks (6.1), without interrupting it (5.19), any.
  const uint32_t choices[] = {kSetupSubmissionThread,
                              kSetupSingleIssuer | kSetupDeferTaskrun | kSetupTaskrunFlag,
                              kSetupCoopTaskrun | kSetupTaskrunFlag, 0};
  int error = -EINVAL;
  for (const uint32_t flags : choices) {
    const bool withThread = flags == kSetupSubmissionThread;
    if (withThread && options.submissionThreadIdleMs < 0) continue;
    memset(params, 0, sizeof(*params));
    params->flags = flags | kSetupClamp;
    if (withThread) params->sq_thread_idle = static_cast<uint32_t>(options.submissionThreadIdleMs);
    error = FaultErrno(kFaultRingSetup);
    if (error == 0) {
      ringFd_ = static_cast<int>(syscall(__NR_io_uring_setup, options.entries, params));
      error = ringFd_ < 0 ? -errno : 0;
    }
    setupFlags_ = flags;
    if (error == 0) return 0;
    // A refused thread says nothing about rings without one.
    if (withThread) {
      submissionThreadRefusal_ = error;
    } else if (error != -EINVAL) {
      return error;
    }
  }
  return error;
}

int Ring::Setup(const RingOptions& options) {
  io_uring_params params;
  const int opened = OpenRing(options, &params);
  if (opened != 0) return opened;
  features_ = params.features;
  const int mapped = MapQueues(params);
  if (mapped != 0) return mapped;
  entries_ = params.sq_entries;
  slots_.resize(entries_);

  eventFd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (eventFd_ < 0) return -errno;
  const int signalled = Register(ringFd_, kRegisterEventFd, &eventFd_, 1);
  if (signalled != 0) return signalled;

  std::vector<uint64_t> memory((sizeof(io_uring_probe) + kProbeOps * sizeof(io_uring_probe_op)) / 8 + 1, 0);
  auto* probe = reinterpret_cast<io_uring_probe*>(memory.data());
  const int probed = Register(ringFd_, kRegisterProbe, probe, kProbeOps);
  if (probed != 0) return probed;
  supported_.assign(kProbeOps, false);
  for (uint32_t i = 0; i < probe->ops_len && i < kProbeOps; i++) {
    supported_[probe->ops[i].op] = (probe->ops[i].flags & 1u) != 0;
  }
  MakeTables(options);
  return 0;
}

// Tables with nothing in them yet; that the kernel refuses one leaves a ring without it.
void Ring::MakeTables(const RingOptions& options) {
  if (options.fileTable > 0) {
    const std::vector<int32_t> none(options.fileTable, -1);
    fileTableRefusal_ = Register(ringFd_, kRegisterFiles, none.data(), options.fileTable);
  }
  if (options.bufferTable > 0) {
    RegisterTable table = {options.bufferTable, kRegisterSparse, 0, 0, 0};
    bufferTableRefusal_ = Register(ringFd_, kRegisterBuffers2, &table, sizeof(table));
    if (bufferTableRefusal_ == -EINVAL) {
      // Before 5.19 an empty place is an empty range.
      const std::vector<iovec> none(options.bufferTable, iovec{nullptr, 0});
      const std::vector<uint64_t> tags(options.bufferTable, 0);
      table = {options.bufferTable, 0, 0, Address(none.data()), Address(tags.data())};
      bufferTableRefusal_ = Register(ringFd_, kRegisterBuffers2, &table, sizeof(table));
    }
  }
}

int Ring::SetFile(uint32_t index, int fd) {
  const int fault = fd >= 0 ? FaultErrno(kFaultRegisterFile) : 0;
  if (fault != 0) return fault;
  const int32_t fds[] = {fd};
  const UpdateFiles update = {index, 0, Address(fds)};
  return Register(ringFd_, kRegisterFilesUpdate, &update, 1);
}

int Ring::SetBuffer(uint32_t index, uint8_t* data, size_t length) {
  const int fault = data != nullptr ? FaultErrno(kFaultRegisterBuffer) : 0;
  if (fault != 0) return fault;
  const iovec range = {data, length};
  const uint64_t tag = 0;
  const UpdateTable update = {index, 0, Address(&range), Address(&tag), 1, 0};
  const int updated = Register(ringFd_, kRegisterBuffersUpdate, &update, sizeof(update));
  if (updated != 0 && data != nullptr) return updated;
  buffers_.erase(std::remove_if(buffers_.begin(), buffers_.end(),
                                [index](const RegisteredBuffer& buffer) { return buffer.index == index; }),
                 buffers_.end());
  if (data == nullptr) return updated;
  const RegisteredBuffer added = {reinterpret_cast<uintptr_t>(data), length, index};
  buffers_.insert(std::upper_bound(buffers_.begin(), buffers_.end(), added,
                                   [](const auto& a, const auto& b) { return a.base < b.base; }),
                  added);
  return 0;
}

// The registered buffer in which the whole range lies. Registered ranges do not overlap.
const Ring::RegisteredBuffer* Ring::FindBuffer(uint64_t address, uint32_t length) const {
  auto after = std::upper_bound(buffers_.begin(), buffers_.end(), address,
                                [](uint64_t wanted, const auto& buffer) { return wanted < buffer.base; });
  if (after == buffers_.begin()) return nullptr;
  const RegisteredBuffer& candidate = *--after;
  const uint64_t start = address - candidate.base;
  return start <= candidate.length && length <= candidate.length - start ? &candidate : nullptr;
}

int Ring::MapQueues(const io_uring_params& params) {
  constexpr int kProtection = PROT_READ | PROT_WRITE;
  constexpr int kMapFlags = MAP_SHARED | MAP_POPULATE;
  queueBytes_ = params.sq_off.array + params.sq_entries * sizeof(uint32_t);
  completionBytes_ = params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe);
  const bool single = (params.features & kFeatSingleMmap) != 0;
  if (single && completionBytes_ > queueBytes_) queueBytes_ = completionBytes_;

  void* queue = mmap(nullptr, queueBytes_, kProtection, kMapFlags, ringFd_, IORING_OFF_SQ_RING);
  if (queue == MAP_FAILED) return -errno;
  queueMemory_ = queue;
  void* completions = queue;
  if (!single) {
    completions = mmap(nullptr, completionBytes_, kProtection, kMapFlags, ringFd_, IORING_OFF_CQ_RING);
    if (completions == MAP_FAILED) return -errno;
    completionMemory_ = completions;
  }
  sqeBytes_ = params.sq_entries * sizeof(io_uring_sqe);
  void* sqes = mmap(nullptr, sqeBytes_, kProtection, kMapFlags, ringFd_, IORING_OFF_SQES);
  if (sqes == MAP_FAILED) return -errno;
  sqes_ = static_cast<io_uring_sqe*>(sqes);

  auto* sq = static_cast<uint8_t*>(queue);
  sqHead_ = reinterpret_cast<uint32_t*>(sq + params.sq_off.head);
  sqTail_ = reinterpret_cast<uint32_t*>(sq + params.sq_off.tail);
  sqFlags_ = reinterpret_cast<uint32_t*>(sq + params.sq_off.flags);
  sqArray_ = reinterpret_cast<uint32_t*>(sq + params.sq_off.array);
  sqMask_ = *reinterpret_cast<uint32_t*>(sq + params.sq_off.ring_mask);
  tail_ = *sqTail_;
  auto* cq = static_cast<uint8_t*>(completions);
  cqHead_ = reinterpret_cast<uint32_t*>(cq + params.cq_off.head);
  cqTail_ = reinterpret_cast<uint32_t*>(cq + params.cq_off.tail);
  cqOverflow_ = reinterpret_cast<uint32_t*>(cq + params.cq_off.overflow);
  cqes_ = reinterpret_cast<io_uring_cqe*>(cq + params.cq_off.cqes);
  cqMask_ = *reinterpret_cast<uint32_t*>(cq + params.cq_off.ring_mask);
  // Word 0 of the queue is the submission head: a kernel without these flags (before 5.8) reports offset 0.
  if (params.cq_off.flags != 0) cqFlags_ = reinterpret_cast<uint32_t*>(cq + params.cq_off.flags);
  return 0;
}

bool Ring::Supports(uint8_t opcode) const { return supported_[opcode]; }

bool Ring::HasSubmissionThread() const { return (setupFlags_ & kSetupSubmissionThread) != 0; }

uint32_t Ring::Unsubmitted() const { return tail_ - LoadAcquire(sqHead_); }

uint32_t Ring::Lost() const { return dropped_ + LoadAcquire(cqOverflow_); }

// The queue has as many entries as there are slots, so it has room for every slot that is free; but a submission thread
// may have completed operations of a batch before it says that it has read the batch's entries.
io_uring_sqe* Ring::NextEntry() {
  while (tail_ - LoadAcquire(sqHead_) >= entries_) {
    SubmitToThread();
    EnterKernel(0, 0, kEnterWaitForRoom);
  }
  io_uring_sqe* entry = &sqes_[tail_ & sqMask_];
  sqArray_[tail_ & sqMask_] = tail_ & sqMask_;
  tail_++;
  return entry;
}

void Ring::Prepare(uint32_t slot, uint32_t generation, uint8_t opcode, const io_uring_sqe& filled) {
  Slot& taken = slots_[slot];
  taken.busy = true;
  taken.opcode = opcode;
  taken.generation = generation;
  taken.fault = NextFault(opcode);
  io_uring_sqe* sqe = NextEntry();
  *sqe = filled;
  sqe->opcode = opcode;
  sqe->user_data = UserData(slot, generation);
  if (opcode == kOpRead || opcode == kOpWrite) {
    const RegisteredBuffer* registered = FindBuffer(sqe->addr, sqe->len);
    if (registered != nullptr) {
      sqe->opcode = opcode == kOpRead ? kOpReadFixed : kOpWriteFixed;
      sqe->buf_index = static_cast<uint16_t>(registered->index);
      use_.fixedBufferOperations++;
    }
  }
  if ((sqe->flags & kEntryFixedFile) != 0) use_.fixedFileOperations++;
  const bool moves = opcode == kOpRead || opcode == kOpWrite;
  if (moves && taken.fault.kind == FaultKind::kShort) sqe->len = std::min(sqe->len, taken.fault.value);
  if (taken.fault.kind == FaultKind::kErrno) {
    // Something that fails in the kernel, so that what is linked to it is cancelled. Its errno is replaced.
    const uint8_t links = sqe->flags & (kEntryLink | kEntryHardLink);
    memset(sqe, 0, sizeof(*sqe));
    sqe->opcode = kOpFsync;
    sqe->fd = -1;
    sqe->flags = links;
    sqe->user_data = UserData(slot, generation);
  }
  inFlight_++;
}

void Ring::FreeSlot(uint32_t slot) {
  slots_[slot].busy = false;
  inFlight_--;
}

void Ring::Unprepare(uint32_t count) {
  for (; count > 0; count--) {
    tail_--;
    FreeSlot(static_cast<uint32_t>(sqes_[tail_ & sqMask_].user_data));
  }
}

int Ring::EnterKernel(uint32_t submit, uint32_t waitFor, uint32_t flags) {
  use_.enters++;
  const long entered = syscall(__NR_io_uring_enter, ringFd_, submit, waitFor, flags, nullptr, 0);
  return entered < 0 ? -errno : static_cast<int>(entered);
}

int Ring::Enter(uint32_t submit, uint32_t waitFor, uint32_t flags) {
  const int fault = FaultErrno(kFaultRingEnter);
  return fault != 0 ? fault : EnterKernel(submit, waitFor, flags);
}

void Ring::SubmitToThread() {
  StoreRelease(sqTail_, tail_);
  // The thread says that it sleeps, then looks at the tail; the tail was moved, then its word is read.
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  if ((LoadAcquire(sqFlags_) & kSqNeedsWakeUp) != 0) EnterKernel(tail_ - LoadAcquire(sqHead_), 0, kEnterWakeUp);
}

// Takes back everything from this place on: only this thread moves the tail, and the kernel reads only in Enter.
void Ring::Withdraw(uint32_t from, int error, std::vector<RingCompletion>* refused) {
  for (uint32_t at = from; at != tail_; at++) {
    const uint64_t userData = sqes_[at & sqMask_].user_data;
    if (userData == kNoSlot) continue;
    const auto slot = static_cast<uint32_t>(userData);
    FreeSlot(slot);
    refused->push_back({slot, slots_[slot].generation, error, kNoOpcode});
  }
  tail_ = from;
  StoreRelease(sqTail_, tail_);
}

// The kernel read no further than to here, in the middle of a chain: it would run the rest as if nothing came before.
// Entries without a slot take its places.
void Ring::CutChain(uint32_t from, std::vector<RingCompletion>* refused) {
  bool linked = true;
  for (uint32_t at = from; linked && at != tail_; at++) {
    io_uring_sqe* sqe = &sqes_[at & sqMask_];
    linked = (sqe->flags & (kEntryLink | kEntryHardLink)) != 0;
    if (sqe->user_data != kNoSlot) {
      const auto slot = static_cast<uint32_t>(sqe->user_data);
      FreeSlot(slot);
      refused->push_back({slot, slots_[slot].generation, -ECANCELED, kNoOpcode});
    }
    memset(sqe, 0, sizeof(*sqe));
    sqe->opcode = kOpNop;
    sqe->user_data = kNoSlot;
  }
}

void Ring::Submit(std::vector<RingCompletion>* refused) {
  if (HasSubmissionThread()) {
    if (*sqTail_ == tail_) return;
    const int fault = FaultErrno(kFaultRingEnter);
    if (fault != 0 && fault != -EINTR && fault != -EAGAIN && fault != -EBUSY) {
      broken_ = fault;
      Withdraw(*sqTail_, fault, refused);
      return;
    }
    SubmitToThread();
    return;
  }
  // What completes inside these calls is harvested right after them: no wake-up wanted for it.
  SetEventFdEnabled(false);
  StoreRelease(sqTail_, tail_);
  int retries = 0;
  while (Unsubmitted() > 0) {
    const int entered = Enter(AtMost(Unsubmitted()), 0, kEnterGetEvents);
    if (entered > 0) {
      retries = 0;
      const uint32_t head = LoadAcquire(sqHead_);
      const io_uring_sqe& last = sqes_[(head - 1) & sqMask_];
      if (head != tail_ && (last.flags & (kEntryLink | kEntryHardLink)) != 0) CutChain(head, refused);
      continue;
    }
    if (entered == -EINTR) continue;
    const bool busy = entered == -EAGAIN || entered == -EBUSY || entered == 0;
    if (busy && retries++ < kBusyRetries) {
      // Out of memory for requests: those outstanding give theirs back.
      if (owned() > Unsubmitted()) Enter(0, 1, kEnterGetEvents);
      continue;
    }
    if (!busy) broken_ = entered;
    Withdraw(LoadAcquire(sqHead_), entered == 0 ? -EAGAIN : entered, refused);
  }
}

void Ring::TakeCompletions(std::vector<RingCompletion>* completions) {
  uint32_t head = *cqHead_;
  for (; head != LoadAcquire(cqTail_); head++) {
    const io_uring_cqe& cqe = cqes_[head & cqMask_];
    if (cqe.user_data == kNoSlot) continue;
    const auto slot = static_cast<uint32_t>(cqe.user_data);
    const auto generation = static_cast<uint32_t>(cqe.user_data >> 32);
    if (slot >= entries_ || !slots_[slot].busy || slots_[slot].generation != generation) {
      completions->push_back({slot, generation, cqe.res, kNoOpcode});
      continue;
    }
    const Fault fault = slots_[slot].fault;
    if (fault.kind == FaultKind::kDrop) {
      dropped_++;
      continue;
    }
    FreeSlot(slot);
    const bool replaced = fault.kind == FaultKind::kErrno && cqe.res != -ECANCELED;
    completions->push_back(
        {slot, generation, replaced ? -static_cast<int32_t>(fault.value) : cqe.res, slots_[slot].opcode});
  }
  StoreRelease(cqHead_, head);
}

void Ring::SetEventFdEnabled(bool enabled) {
  if (cqFlags_ == nullptr) return;
  __atomic_store_n(cqFlags_, enabled ? 0 : kCqEventFdDisabled, __ATOMIC_RELAXED);
  // The kernel sets its work flag, then reads this one; we write this one, then read its flag: both need the fence.
  if (enabled) __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

bool Ring::HasPendingWork() const {
  if (*cqHead_ != LoadAcquire(cqTail_)) return true;
  return (LoadAcquire(sqFlags_) & (kSqTaskrun | kSqCqOverflow)) != 0;
}

void Ring::Harvest(std::vector<RingCompletion>* completions) {
  SetEventFdEnabled(false);
  RunWork(completions);
  SetEventFdEnabled(true);
  if (NextFault(kFaultRingWorkFlag).kind != FaultKind::kNone) __atomic_fetch_or(sqFlags_, kSqTaskrun, __ATOMIC_RELEASE);
  // Work that was added while the signal was off would never be signalled: look again now that it is on. What is added
  // from here on signals. Not until the flag is down: the kernel adds work and raises the flag for it in two steps, and
  // when the work was run between them the flag stays up with nothing behind it. Each look runs some twenty pieces.
  for (uint32_t looks = kSpareLooks + owned() / kWorkPerLook; looks > 0 && HasPendingWork(); looks--) RunWork(completions);
}

void Ring::RunWork(std::vector<RingCompletion>* completions) {
  if ((LoadAcquire(sqFlags_) & (kSqTaskrun | kSqCqOverflow)) != 0) EnterKernel(0, 0, kEnterGetEvents);
  TakeCompletions(completions);
}

void Ring::Wait(double timeoutMs, uint32_t atLeast) {
  if (owned() == 0 || *cqHead_ != LoadAcquire(cqTail_)) return;
  // Nobody polls meanwhile.
  SetEventFdEnabled(false);
  const uint32_t wanted = std::max(1u, std::min(atLeast, owned()));
  if (timeoutMs < 0 || (features_ & kFeatExtArg) == 0) {
    int waited;
    do {
      waited = Enter(0, wanted, kEnterGetEvents);
    } while (waited == -EINTR);
    return;
  }
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  const int64_t end = now.tv_sec * 1000 * kNsPerMs + now.tv_nsec + static_cast<int64_t>(timeoutMs * kNsPerMs);
  for (;;) {
    clock_gettime(CLOCK_MONOTONIC, &now);
    const int64_t left = std::max<int64_t>(0, end - (now.tv_sec * 1000 * kNsPerMs + now.tv_nsec));
    const KernelTimespec limit = {left / (1000 * kNsPerMs), left % (1000 * kNsPerMs)};
    const WaitArgument argument = {0, 0, 0, Address(&limit)};
    const int fault = FaultErrno(kFaultRingEnter);
    use_.enters++;
    const long waited = fault != 0 ? -1
                                   : syscall(__NR_io_uring_enter, ringFd_, 0, wanted, kEnterGetEvents | kEnterExtArg,
                                             &argument, sizeof(argument));
    if (waited >= 0 || (fault != 0 ? -fault : errno) != EINTR) return;
  }
}

void Ring::Cancel(uint32_t slot, uint32_t generation) {
  io_uring_sqe* sqe = NextEntry();
  memset(sqe, 0, sizeof(*sqe));
  sqe->opcode = kOpAsyncCancel;
  sqe->fd = -1;
  sqe->addr = UserData(slot, generation);
  sqe->user_data = kNoSlot;
  if (HasSubmissionThread()) {
    SubmitToThread();
    return;
  }
  StoreRelease(sqTail_, tail_);
  for (int tries = 0; Unsubmitted() > 0 && tries < kBusyRetries; tries++) EnterKernel(Unsubmitted(), 0, kEnterGetEvents);
  if (Unsubmitted() > 0) {
    tail_ = LoadAcquire(sqHead_);
    StoreRelease(sqTail_, tail_);
  }
}

bool Ring::CancelAndDrain(std::vector<RingCompletion>* completions) {
  TakeCompletions(completions);
  for (uint32_t slot = 0; slot < entries_ && owned() > 0; slot++) {
    if (!slots_[slot].busy || FaultErrno(kFaultRingDrain) != 0) continue;
    Cancel(slot, slots_[slot].generation);
    TakeCompletions(completions);
  }
  for (int looks = 0; owned() > 0;) {
    const int fault = FaultErrno(kFaultRingDrain);
    const int waited = fault != 0 ? fault : EnterKernel(0, 1, kEnterGetEvents);
    TakeCompletions(completions);
    if (waited >= 0 || waited == -EINTR || waited == -EAGAIN || waited == -EBUSY) continue;
    // The ring cannot be asked any more; what is under way still completes by itself.
    if (++looks > kDrainLooks) return false;
    const struct timespec pause = {0, kNsPerMs};
    nanosleep(&pause, nullptr);
  }
  return true;
}

}  // namespace holt
