#include "blocking.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/stat.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "env_state.h"
#include "fault_table.h"

#ifndef RWF_APPEND
#define RWF_APPEND 0x00000010
#endif
#ifndef RWF_DSYNC
#define RWF_DSYNC 0x00000002
#endif

namespace holt {
namespace {

// The kernel moves at most 2 GiB less a page in one call; an even gigabyte keeps direct transfers aligned.
constexpr size_t kMaxCallBytes = size_t{1} << 30;

// statx by its number and offsets, so that headers from before DIOALIGN (6.1) suffice to build.
constexpr uint32_t kStatxDioAlign = 0x2000;
constexpr size_t kStatxBytes = 256;
constexpr size_t kStatxMaskAt = 0;
constexpr size_t kStatxDioMemoryAlignAt = 152;
constexpr size_t kStatxDioOffsetAlignAt = 156;

struct Bytes {
  uint8_t* data;
  size_t length;
};

Bytes BytesOf(const Napi::CallbackInfo& info, size_t index) {
  void* data = nullptr;
  size_t length = 0;
  if (napi_get_typedarray_info(info.Env(), info[index], nullptr, &length, &data, nullptr, nullptr) != napi_ok) {
    return {nullptr, 0};
  }
  return {static_cast<uint8_t*>(data), length};
}

// Whether a test wants this call to fail: errno is set then. A call that is to be short gets a shorter length.
bool Fails(uint32_t point, size_t* length = nullptr) {
  const Fault fault = NextFault(point);
  if (fault.kind == FaultKind::kShort && length != nullptr) *length = std::min<size_t>(*length, fault.value);
  if (fault.kind == FaultKind::kErrno) errno = static_cast<int>(fault.value);
  return fault.kind == FaultKind::kErrno;
}

ssize_t WriteOnce(int fd, const uint8_t* data, size_t length, int64_t offset, bool dsync) {
  if (Fails(dsync ? kFaultWriteDsync : kFaultWrite, &length)) return -1;
  if (!dsync) return pwrite(fd, data, length, offset);
  const iovec vector = {const_cast<uint8_t*>(data), length};
  return pwritev2(fd, &vector, 1, offset, RWF_DSYNC);
}

}  // namespace

int WriteFully(int fd, const uint8_t* data, size_t length, int64_t offset, bool dsync) {
  bool flagged = dsync;
  while (length > 0) {
    const ssize_t written = WriteOnce(fd, data, std::min(length, kMaxCallBytes), offset, flagged);
    if (written < 0) {
      if (errno == EINTR) continue;
      if (flagged && (errno == EOPNOTSUPP || errno == ENOSYS)) {
        flagged = false;
        continue;
      }
      return -errno;
    }
    // Nothing written and no error: repeating it could go on for ever.
    if (written == 0) return -EIO;
    data += written;
    offset += written;
    length -= static_cast<size_t>(written);
  }
  return dsync && !flagged ? DataSync(fd) : 0;
}

int DataSync(int fd) {
  while (Fails(kFaultDataSync) || fdatasync(fd) != 0) {
    if (errno != EINTR) return -errno;
  }
  return 0;
}

int TruncateFile(int fd, int64_t size) {
  while (Fails(kFaultTruncate) || ftruncate(fd, size) != 0) {
    if (errno != EINTR) return -errno;
  }
  return 0;
}

// Not by fstat, whose symbol needs glibc 2.33 where it was built against that. Nobody uses a file's own position here.
int64_t FileSize(int fd) {
  const off_t size = lseek(fd, 0, SEEK_END);
  return size < 0 ? -errno : size;
}

int AppendZeros(int fd, int64_t end) {
  alignas(4096) static const uint8_t kZeros[256 * 1024] = {};
  for (;;) {
    const int64_t size = FileSize(fd);
    if (size < 0) return static_cast<int>(size);
    if (size >= end) return 0;
    const auto missing = static_cast<size_t>(end - size);
    const iovec vector = {const_cast<uint8_t*>(kZeros), std::min(missing, sizeof(kZeros))};
    const ssize_t written = pwritev2(fd, &vector, 1, 0, RWF_APPEND);
    if (written < 0 && errno != EINTR) return -errno;
    if (written == 0) return -EIO;
  }
}

Napi::Value ReadSync(const Napi::CallbackInfo& info) {
  const int fd = info[0].ToNumber().Int32Value();
  const Bytes bytes = BytesOf(info, 1);
  const int64_t offset = info[2].ToNumber().Int64Value();
  size_t done = 0;
  while (done < bytes.length) {
    size_t length = std::min(bytes.length - done, kMaxCallBytes);
    const ssize_t got =
        Fails(kFaultRead, &length) ? -1 : pread(fd, bytes.data + done, length, offset + static_cast<int64_t>(done));
    if (got < 0) {
      if (errno == EINTR) continue;
      // A direct read that stopped inside its last block can not go on from there: it met the end.
      if (errno == EINVAL && done > 0) break;
      return Napi::Number::New(info.Env(), -errno);
    }
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return Napi::Number::New(info.Env(), static_cast<double>(done));
}

Napi::Value WriteSync(const Napi::CallbackInfo& info) {
  const int fd = info[0].ToNumber().Int32Value();
  const Bytes bytes = BytesOf(info, 1);
  const int64_t offset = info[2].ToNumber().Int64Value();
  const bool dsync = info[3].ToBoolean();
  return Napi::Number::New(info.Env(), WriteFully(fd, bytes.data, bytes.length, offset, dsync));
}

Napi::Value SyncSync(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), DataSync(info[0].ToNumber().Int32Value()));
}

Napi::Value CloseSync(const Napi::CallbackInfo& info) {
  const int fd = info[0].ToNumber().Int32Value();
  EnvState::Of(info.Env())->UntrackFd(fd);
  // Never repeated: also an interrupted close has given the descriptor back, and it may be somebody else's already.
  return Napi::Number::New(info.Env(), close(fd) == 0 || errno == EINTR ? 0 : -errno);
}

Napi::Value LockFile(const Napi::CallbackInfo& info) {
  const std::string path = info[0].ToString().Utf8Value();
  int fd;
  do {
    fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return Napi::Number::New(info.Env(), -errno);
  int locked;
  do {
    locked = flock(fd, LOCK_EX | LOCK_NB);
  } while (locked != 0 && errno == EINTR);
  if (locked != 0) {
    const int error = errno;
    close(fd);
    return Napi::Number::New(info.Env(), -error);
  }
  EnvState::Of(info.Env())->TrackFd(fd);
  return Napi::Number::New(info.Env(), fd);
}

Napi::Value SetDirect(const Napi::CallbackInfo& info) {
  const int fd = info[0].ToNumber().Int32Value();
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_DIRECT) != 0) return Napi::Number::New(info.Env(), -errno);
  return Napi::Number::New(info.Env(), 0);
}

Napi::Value DirectAlignment(const Napi::CallbackInfo& info) {
  const int fd = info[0].ToNumber().Int32Value();
  alignas(8) uint8_t buffer[kStatxBytes] = {};
  uint32_t mask = 0;
  uint32_t memory = 0;
  uint32_t offset = 0;
  if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, kStatxDioAlign, buffer) == 0) {
    memcpy(&mask, buffer + kStatxMaskAt, 4);
    if ((mask & kStatxDioAlign) != 0) {
      memcpy(&memory, buffer + kStatxDioMemoryAlignAt, 4);
      memcpy(&offset, buffer + kStatxDioOffsetAlignAt, 4);
    }
  }
  return Napi::Number::New(info.Env(), offset == 0 ? 0 : std::max(memory, offset));
}

Napi::Value AddressOf(const Napi::CallbackInfo& info) {
  return Napi::Number::New(info.Env(), static_cast<double>(reinterpret_cast<uintptr_t>(BytesOf(info, 0).data)));
}

}  // namespace holt
