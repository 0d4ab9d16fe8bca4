#include "ring.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef __NR_io_uring_setup
#define __NR_io_uring_setup 425
#define __NR_io_uring_enter 426
#define __NR_io_uring_register 427
#endif

namespace holt {
namespace {

constexpr uint32_t kSetupClamp = 1u << 4;
constexpr uint32_t kSetupCoopTaskrun = 1u << 8;
constexpr uint32_t kSetupTaskrunFlag = 1u << 9;
constexpr uint32_t kSetupSingleIssuer = 1u << 12;
constexpr uint32_t kSetupDeferTaskrun = 1u << 13;
constexpr uint32_t kFeatSingleMmap = 1u << 0;
constexpr uint32_t kEnterGetEvents = 1u << 0;
constexpr uint32_t kSqCqOverflow = 1u << 1;
constexpr uint32_t kSqTaskrun = 1u << 2;
constexpr uint32_t kCqEventFdDisabled = 1u << 0;
constexpr uint32_t kRegisterEventFd = 4;
constexpr uint32_t kRegisterProbe = 8;
constexpr uint32_t kCancelAll = 1u << 0;
constexpr uint32_t kCancelAny = 1u << 2;
constexpr uint32_t kProbeOps = 256;

// The user_data of entries that have no slot: no generation is ever 0.
constexpr uint64_t kNoSlot = 0;

// How often a submission is repeated when the kernel is out of memory for requests.
constexpr int kBusyRetries = 64;

uint32_t LoadAcquire(const uint32_t* word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
void StoreRelease(uint32_t* word, uint32_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }

}  // namespace

std::unique_ptr<Ring> Ring::Create(uint32_t entries, int* error) {
  std::unique_ptr<Ring> ring(new Ring());
  *error = ring->Setup(entries);
  if (*error != 0) return nullptr;
  return ring;
}

Ring::~Ring() {
  if (ringFd_ >= 0) close(ringFd_);
  if (eventFd_ >= 0) close(eventFd_);
  if (sqes_ != nullptr) munmap(sqes_, sqeBytes_);
  if (completionMemory_ != nullptr) munmap(completionMemory_, completionBytes_);
  if (queueMemory_ != nullptr) munmap(queueMemory_, queueBytes_);
}

int Ring::Setup(uint32_t entries) {
  // From the best to the plainest: completions only when this thread asks (6.1), without interrupting it (5.19), any.
  const uint32_t choices[] = {kSetupSingleIssuer | kSetupDeferTaskrun | kSetupTaskrunFlag,
                              kSetupCoopTaskrun | kSetupTaskrunFlag, 0};
  io_uring_params params;
  for (const uint32_t flags : choices) {
    memset(&params, 0, sizeof(params));
    params.flags = flags | kSetupClamp;
    ringFd_ = static_cast<int>(syscall(__NR_io_uring_setup, entries, &params));
    setupFlags_ = flags;
    if (ringFd_ >= 0 || errno != EINVAL) break;
  }
  if (ringFd_ < 0) return -errno;

  const int mapped = MapQueues(params);
  if (mapped != 0) return mapped;
  entries_ = params.sq_entries;
  slots_.resize(entries_);

  eventFd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (eventFd_ < 0) return -errno;
  if (syscall(__NR_io_uring_register, ringFd_, kRegisterEventFd, &eventFd_, 1) < 0) return -errno;

  std::vector<uint64_t> memory((sizeof(io_uring_probe) + kProbeOps * sizeof(io_uring_probe_op)) / 8 + 1, 0);
  auto* probe = reinterpret_cast<io_uring_probe*>(memory.data());
  if (syscall(__NR_io_uring_register, ringFd_, kRegisterProbe, probe, kProbeOps) < 0) return -errno;
  supported_.assign(kProbeOps, false);
  for (uint32_t i = 0; i < probe->ops_len && i < kProbeOps; i++) {
    supported_[probe->ops[i].op] = (probe->ops[i].flags & 1u) != 0;
  }
  return 0;
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
  auto* cq = static_cast<uint8_t*>(completions);
  cqHead_ = reinterpret_cast<uint32_t*>(cq + params.cq_off.head);
  cqTail_ = reinterpret_cast<uint32_t*>(cq + params.cq_off.tail);
  cqes_ = reinterpret_cast<io_uring_cqe*>(cq + params.cq_off.cqes);
  cqMask_ = *reinterpret_cast<uint32_t*>(cq + params.cq_off.ring_mask);
  // Word 0 of the queue is the submission head: a kernel without these flags (before 5.8) reports offset 0.
  if (params.cq_off.flags != 0) cqFlags_ = reinterpret_cast<uint32_t*>(cq + params.cq_off.flags);
  return 0;
}

bool Ring::Supports(uint8_t opcode) const { return supported_[opcode]; }

uint32_t Ring::Unsubmitted() const { return *sqTail_ - LoadAcquire(sqHead_); }

io_uring_sqe* Ring::Prepare(uint32_t slot, uint8_t opcode) {
  if (slot >= entries_ || slots_[slot].busy) return nullptr;
  Slot& taken = slots_[slot];
  taken.busy = true;
  taken.opcode = opcode;
  if (++taken.generation == 0) taken.generation = 1;
  // The queue has as many entries as there are slots, so it has room for every slot that is free.
  const uint32_t tail = *sqTail_;
  io_uring_sqe* sqe = &sqes_[tail & sqMask_];
  memset(sqe, 0, sizeof(*sqe));
  sqe->opcode = opcode;
  sqe->user_data = (static_cast<uint64_t>(taken.generation) << 32) | slot;
  sqArray_[tail & sqMask_] = tail & sqMask_;
  StoreRelease(sqTail_, tail + 1);
  inFlight_++;
  return sqe;
}

int Ring::Enter(uint32_t submit, uint32_t waitFor, uint32_t flags) {
  const long entered = syscall(__NR_io_uring_enter, ringFd_, submit, waitFor, flags, nullptr, 0);
  return entered < 0 ? -errno : static_cast<int>(entered);
}

void Ring::Submit(std::vector<RingCompletion>* refused) {
  // What completes inside these calls is harvested right after them: no wake-up wanted for it.
  SetEventFdEnabled(false);
  int retries = 0;
  while (Unsubmitted() > 0) {
    const int entered = Enter(Unsubmitted(), 0, kEnterGetEvents);
    if (entered > 0) {
      retries = 0;
      continue;
    }
    if (entered == -EINTR) continue;
    if ((entered == -EAGAIN || entered == -EBUSY || entered == 0) && retries++ < kBusyRetries) {
      // Out of memory for requests: those outstanding give theirs back.
      if (inFlight_ > Unsubmitted()) Enter(0, 1, kEnterGetEvents);
      continue;
    }
    // Only this thread moves the tail, and the kernel reads it only inside Enter: the rest can be taken back.
    const uint32_t head = LoadAcquire(sqHead_);
    for (uint32_t at = head; at != *sqTail_; at++) {
      const uint64_t userData = sqes_[at & sqMask_].user_data;
      if (userData == kNoSlot) continue;
      const auto slot = static_cast<uint32_t>(userData);
      slots_[slot].busy = false;
      inFlight_--;
      refused->push_back({slot, entered == 0 ? -EAGAIN : entered, slots_[slot].opcode});
    }
    StoreRelease(sqTail_, head);
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
      staleCompletions_++;
      continue;
    }
    slots_[slot].busy = false;
    inFlight_--;
    completions->push_back({slot, cqe.res, slots_[slot].opcode});
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
  do {
    SetEventFdEnabled(false);
    if ((LoadAcquire(sqFlags_) & (kSqTaskrun | kSqCqOverflow)) != 0) Enter(0, 0, kEnterGetEvents);
    TakeCompletions(completions);
    SetEventFdEnabled(true);
    // Work that was added while the signal was off would never be signalled: look again now that it is on.
  } while (HasPendingWork());
}

void Ring::CancelAndDrain(std::vector<RingCompletion>* completions) {
  TakeCompletions(completions);
  if (inFlight_ == 0) return;
  const uint32_t tail = *sqTail_;
  io_uring_sqe* sqe = &sqes_[tail & sqMask_];
  memset(sqe, 0, sizeof(*sqe));
  sqe->opcode = kOpAsyncCancel;
  sqe->fd = -1;
  sqe->cancel_flags = kCancelAll | kCancelAny;
  sqe->user_data = kNoSlot;
  sqArray_[tail & sqMask_] = tail & sqMask_;
  StoreRelease(sqTail_, tail + 1);
  Submit(completions);
  TakeCompletions(completions);
  while (inFlight_ > 0) {
    const int waited = Enter(0, 1, kEnterGetEvents);
    if (waited < 0 && waited != -EINTR && waited != -EAGAIN && waited != -EBUSY) return;
    TakeCompletions(completions);
  }
}

}  // namespace holt
