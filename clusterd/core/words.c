/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Numbers that executors and processes give, in words: an administrator reads "No space left on device", never "error
 * 28".  The C library's strerror() may allocate and goes by the locale; the numbers are Linux's on every architecture
 * that this runs on.
 */
#include "clusterd/core/internal.h"

#include <errno.h>

static const struct {
	int number;
	const char *text;
} words[] = {
	{ EPERM, "operation not permitted" },
	{ ENOENT, "no such file or directory" },
	{ ESRCH, "no such process" },
	{ EINTR, "interrupted" },
	{ EIO, "input/output error" },
	{ ENXIO, "no such device or address" },
	{ EBADF, "bad file descriptor" },
	{ EAGAIN, "not now, it may work later" },
	{ ENOMEM, "out of memory" },
	{ EACCES, "permission denied" },
	{ EBUSY, "device or resource busy" },
	{ EEXIST, "it exists already" },
	{ EXDEV, "on another file system" },
	{ ENODEV, "no such device" },
	{ ENOTDIR, "not a directory" },
	{ EISDIR, "is a directory" },
	{ EINVAL, "invalid argument" },
	{ ENFILE, "too many open files in the system" },
	{ EMFILE, "too many open files" },
	{ ETXTBSY, "file is in use" },
	{ EFBIG, "file too large" },
	{ ENOSPC, "no space left on device" },
	{ EROFS, "read-only file system" },
	{ EPIPE, "the connection broke" },
	{ ERANGE, "number out of range" },
	{ ENAMETOOLONG, "name too long" },
	{ ENOSYS, "not supported by this kernel or program" },
	{ ENOTEMPTY, "directory not empty" },
	{ ENODATA, "no data" },
	{ ENOKEY, "no such key" },
	{ EPROTO, "protocol error" },
	{ EBADMSG, "malformed message or data" },
	{ EOVERFLOW, "value too large" },
	{ EBADE, "reservation conflict: fenced" },
	{ EMSGSIZE, "message too long" },
	{ EOPNOTSUPP, "not supported" },
	{ EADDRINUSE, "address in use" },
	{ EADDRNOTAVAIL, "no such address here" },
	{ ENETUNREACH, "network unreachable" },
	{ ECONNABORTED, "connection aborted" },
	{ ECONNRESET, "connection reset" },
	{ ETIMEDOUT, "no answer in time" },
	{ ECONNREFUSED, "connection refused" },
	{ EHOSTUNREACH, "no route to host" },
	{ ESTALE, "stale: another has or had it since" },
	{ EDQUOT, "disk quota exceeded" },
	{ ENOMEDIUM, "no medium" },
	{ ECANCELED, "cancelled" },
	{ EREMOTEIO, "remote input/output error" },
};

const char *core_errno_text(uint64_t number)
{
	for (size_t i = 0; i < CL_ARRAY_LEN(words); i++)
		if ((uint64_t)words[i].number == number)
			return words[i].text;
	return number ? NULL : "no reason was given";
}

const char *core_exit_text(uint64_t exit)
{
	static const char *const texts[] = {
		[0] = "it was not there any more",
		[CORE_EXIT_SHUTDOWN] = "the guest powered itself off",
		[CORE_EXIT_RESET] = "the guest asked for a reset",
		[CORE_EXIT_FENCED] = "fenced: its disk belongs to another copy or node now",
		[CORE_EXIT_ERROR] = "the vmm failed or was killed",
	};

	return exit < CL_ARRAY_LEN(texts) ? texts[exit] : NULL;
}
