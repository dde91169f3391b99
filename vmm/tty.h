/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest's byte stream (serial port, console) on a Unix socket.  What the guest wrote is
 * kept in a ring, so that who connects late sees the recent past first; a slow
 * reader loses the oldest bytes, never holds up the guest.  Optionally also
 * appended to a file of bounded size.  The caller holds vmm.dev_lock.
 */
#ifndef VMM_TTY_H
#define VMM_TTY_H

#include <stddef.h>
#include <stdint.h>

struct vmm_io;
struct vmm_tty;

/*
 * Serves who connects to listen_fd; log_fd may be -1.  Both are taken over, also on failure.  input gets what
 * clients type and returns how much was taken; after less than all was taken, call
 * vmm_tty_input_ready() when there is room.
 */
int vmm_tty_new(struct vmm_io *io, int listen_fd, int log_fd,
		   size_t (*input)(void *arg, const uint8_t *data, size_t len_bytes), void *arg,
		   struct vmm_tty **ret_tty);
/* The I/O thread has stopped. */
void vmm_tty_free(struct vmm_tty *tty);
void vmm_tty_write(struct vmm_tty *tty, const uint8_t *data, size_t len_bytes);
void vmm_tty_input_ready(struct vmm_tty *tty);

#endif
