/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio-console data path.  See console.h. */
#include "vmm/devices/console.h"

#define TYPE_CONSOLE 3u
#define Q_RX	     0u
#define Q_TX	     1u

/* No driver writes more at once; what is beyond is dropped. */
#define CHAIN_BYTES_MAX 65536u

size_t vmm_console_input(struct vmm_console *con, const uint8_t *data, size_t len_bytes)
{
	struct vmm_virtio *vd = &con->virtio;
	const struct vmm_mem *mem = vd->dev.host->mem;
	size_t done = 0;

	if (!vmm_virtio_live(vd))
		return len_bytes; /* nobody listens */
	while (done < len_bytes && vmm_virtio_may_run(vd)) {
		size_t n;

		if (!vmm_virtio_pop(vd, Q_RX, &con->chain)) {
			if (vmm_virtio_live(vd) && vmm_virtq_notify_set(&vd->queues[Q_RX], mem, true))
				continue;
			break;
		}
		n = vmm_chain_write(&con->chain, mem, 0, data + done, len_bytes - done);
		done += n;
		vmm_virtio_push(vd, Q_RX, con->chain.head, (uint32_t)n);
	}
	vmm_virtio_flush(vd, Q_RX);
	return done;
}

static void tx_run(struct vmm_console *con)
{
	struct vmm_virtio *vd = &con->virtio;
	const struct vmm_mem *mem = vd->dev.host->mem;

	do {
		vmm_virtq_notify_set(&vd->queues[Q_TX], mem, false);
		while (vmm_virtio_pop(vd, Q_TX, &con->chain)) {
			uint32_t left = CHAIN_BYTES_MAX;

			for (unsigned i = 0; i < con->chain.n_out && left; i++) {
				const struct vmm_seg *s = &con->chain.segs[i];
				uint32_t n = s->len_bytes < left ? s->len_bytes : left;

				con->out(con->arg, s->host, n);
				left -= n;
			}
			vmm_virtio_push(vd, Q_TX, con->chain.head, 0);
		}
	} while (vmm_virtio_may_run(vd) && vmm_virtq_notify_set(&vd->queues[Q_TX], mem, true));
	vmm_virtio_flush(vd, Q_TX);
}

static void console_queue(struct vmm_virtio *vd, unsigned i)
{
	struct vmm_console *con = (struct vmm_console *)vd;

	if (i == Q_TX)
		tx_run(con);
	else
		con->in_ready(con->arg);
}

static const struct vmm_virtio_ops console_ops = { .queue = console_queue };

void vmm_console_init(struct vmm_console *con, const struct vmm_host *host,
		      void (*out)(void *arg, const uint8_t *data, size_t len_bytes),
		      void (*in_ready)(void *arg), void *arg)
{
	vmm_virtio_init(&con->virtio, host, "console0", TYPE_CONSOLE, &console_ops, 0, 2,
			VMM_CONSOLE_QUEUE_SIZE);
	con->virtio.config_bytes = 12;
	con->out = out;
	con->in_ready = in_ready;
	con->arg = arg;
}
