// System calls that block, exact: interrupted ones are repeated, short ones resumed.
#pragma once

#include <napi.h>

#include <cstddef>
#include <cstdint>

namespace holt {

// Zero or a negative errno. `dsync`: the range is stable when it returns.
int WriteFully(int fd, const uint8_t* data, size_t length, int64_t offset, bool dsync);
int DataSync(int fd);
int TruncateFile(int fd, int64_t size);
// The file's size, or a negative errno.
int64_t FileSize(int fd);
// Reserves what lies between the end of the file and `end` by appending zeros, for file systems without fallocate.
// Appending cannot overwrite what others write meanwhile; if they make the file longer, some zeros may lie behind `end`.
int AppendZeros(int fd, int64_t end);

// readSync(fd, bytes, offset): the number of bytes read, fewer only at the end of the file, or a negative errno.
Napi::Value ReadSync(const Napi::CallbackInfo& info);
// writeSync(fd, bytes, offset, dsync): 0 or a negative errno.
Napi::Value WriteSync(const Napi::CallbackInfo& info);
// syncSync(fd): 0 or a negative errno.
Napi::Value SyncSync(const Napi::CallbackInfo& info);
// closeSync(fd): 0 or a negative errno.
Napi::Value CloseSync(const Napi::CallbackInfo& info);
// lockFile(path): a descriptor that holds an exclusive flock, or a negative errno (EAGAIN: another one holds it).
Napi::Value LockFile(const Napi::CallbackInfo& info);
// setDirect(fd): bypass the page cache from now on; 0 or a negative errno (EINVAL: the file system cannot).
Napi::Value SetDirect(const Napi::CallbackInfo& info);
// directAlignment(fd): the multiple direct transfers need by statx, or 0 where the system does not tell.
Napi::Value DirectAlignment(const Napi::CallbackInfo& info);
// addressOf(bytes): where a Uint8Array lies.
Napi::Value AddressOf(const Napi::CallbackInfo& info);

}  // namespace holt
