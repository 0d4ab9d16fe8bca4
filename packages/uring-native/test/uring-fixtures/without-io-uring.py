"""Runs a command with the system calls of io_uring refused by a seccomp filter: ERRNO PROGRAM ARGUMENTS..."""

import ctypes
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP = 22
SECCOMP_MODE_FILTER = 2
SECCOMP_RET_ALLOW = 0x7FFF0000
SECCOMP_RET_ERRNO = 0x00050000
LOAD_WORD, JUMP_IF_GE, RETURN = 0x20, 0x35, 0x06

# io_uring_setup, _enter and _register have the numbers 425 to 427 on every architecture.
program = b"".join(
    struct.pack("HBBI", *instruction)
    for instruction in [
        (LOAD_WORD, 0, 0, 0),
        (JUMP_IF_GE, 0, 2, 425),
        (JUMP_IF_GE, 1, 0, 428),
        (RETURN, 0, 0, SECCOMP_RET_ERRNO | int(sys.argv[1])),
        (RETURN, 0, 0, SECCOMP_RET_ALLOW),
    ]
)


class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("program", ctypes.c_char_p)]


libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
    sys.exit("no_new_privs refused")
if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(Filter(5, program)), 0, 0) != 0:
    sys.exit("seccomp refused")
os.execvp(sys.argv[2], sys.argv[2:])
