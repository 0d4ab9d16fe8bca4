// Files mapped shared into memory, as external array buffers.
#pragma once

#include <napi.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>

namespace holt {

class EnvState;
struct MappingTable;

// The pages themselves: unmapped when the last holder lets go, which may be the log thread.
class MappedRegion {
 public:
  MappedRegion(uint8_t* address, size_t length) : address_(address), length_(length) {}
  ~MappedRegion();
  MappedRegion(const MappedRegion&) = delete;
  MappedRegion& operator=(const MappedRegion&) = delete;

  uint8_t* address() const { return address_; }
  size_t length() const { return length_; }
  // Nobody in JavaScript can see it any more.
  void SetDetached() { detached_.store(true, std::memory_order_release); }
  bool isDetached() const { return detached_.load(std::memory_order_acquire); }
  bool Contains(const uint8_t* data) const { return data >= address_ && data < address_ + length_; }

 private:
  uint8_t* address_;
  size_t length_;
  std::atomic<bool> detached_{false};
};

// One array buffer over a region. Its finalizer may run long after the region went, so it owns only this.
struct MappingWrapper {
  uint32_t id;
  std::shared_ptr<MappedRegion> region;
  std::shared_ptr<MappingTable> table;
  napi_ref buffer = nullptr;  // weak
};

// By id, the wrappers whose region is still mapped.
struct MappingTable {
  std::unordered_map<uint32_t, MappingWrapper*> wrappers;

  std::shared_ptr<MappedRegion> Find(uint32_t id) const;
  std::shared_ptr<MappedRegion> FindAround(const uint8_t* data) const;
};

// map(fd, length): { id, buffer }, undefined where mapping is unsound or impossible here, or a negative errno.
Napi::Value MapFile(const Napi::CallbackInfo& info);

// detachMapping(id): the array buffer is detached and its hold on the region given up. False if it was already.
Napi::Value DetachMapping(const Napi::CallbackInfo& info);

}  // namespace holt
