/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A hostile guest: port and memory accesses, ring contents, disk answers and saved state as the input
 * says, against every device model.  The devices start with a driver that got to DRIVER_OK, so that the
 * fuzzer is in the queues at once.
 *
 * fuzz-sources: vmm/mem.c vmm/bus.c vmm/devices/virtq.c vmm/devices/pci.c vmm/devices/virtio.c vmm/devices/virtio_pci.c vmm/devices/serial.c vmm/devices/pm.c vmm/devices/blk.c vmm/devices/net.c vmm/devices/console.c vmm/devices/rng.c common/cl_wire.c
 */
#include <errno.h>
#include <stdlib.h>

#include "tests/unit/vmm/guest.h"
#include "vmm/devices/blk.h"
#include "vmm/devices/console.h"
#include "vmm/devices/net.h"
#include "vmm/devices/rng.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define SLOTS 4u

static struct vmm_blk blk;
static struct vmm_net net;
static struct vmm_console console;
static struct vmm_rng rng;
static struct vmm_virtio *const devs[SLOTS] = { &blk.virtio, &net.virtio, &console.virtio,
						&rng.virtio };
static struct vmm_disk disk;
static struct vmm_disk_req *waiting[VMM_BLK_QUEUE_SIZE];
static unsigned n_waiting;
static uint64_t generation = 1;

static int on_submit(struct vmm_disk *d, struct vmm_disk_req *req)
{
	if (n_waiting == VMM_BLK_QUEUE_SIZE)
		abort(); /* more in flight than the device admits */
	waiting[n_waiting++] = req;
	return 0;
}

static const struct vmm_disk_ops disk_ops = { .submit = on_submit };

/* What a back end does with the buffers it was given. */
static void disk_answer(unsigned i, int res)
{
	struct vmm_disk_req *req;

	if (!n_waiting)
		return;
	i %= n_waiting;
	req = waiting[i];
	waiting[i] = waiting[--n_waiting];
	for (unsigned v = 0; v < req->n_iov; v++) {
		uint8_t *p = req->iov[v].iov_base;

		if (p < guest_ram || req->iov[v].iov_len > (size_t)(guest_ram + GUEST_RAM_BYTES - p))
			abort();
		if (req->op == VMM_DISK_READ && req->iov[v].iov_len)
			p[0] = p[req->iov[v].iov_len - 1] = 0x55;
	}
	req->done(req, res);
}

static int on_tx(void *arg, const uint8_t *frame, size_t frame_len)
{
	return frame_len % 7 == 3 ? -EAGAIN : 0;
}

static void on_ready(void *arg)
{
}

static void fill(void *out, size_t out_len)
{
	memset(out, 1, out_len);
}

static void machine_new(void)
{
	static const uint8_t mac[6] = { 2 };

	guest_new();
	n_waiting = 0;
	disk = (struct vmm_disk){ .ops = &disk_ops, .size_bytes = 65536, .align_bytes = 512 };
	vmm_blk_init(&blk, &guest_host, "blk0", &disk, &generation);
	vmm_net_init(&net, &guest_host, "net0", mac, on_tx, on_ready, NULL);
	vmm_console_init(&console, &guest_host, guest_on_out, on_ready, NULL);
	vmm_rng_init(&rng, &guest_host, fill);
	for (unsigned i = 0; i < SLOTS; i++) {
		(void)vmm_pci_bus_add(&guest_pci, &devs[i]->pci);
		guest_driver(vmm_pci_bar(&devs[i]->pci), i + 1, i == 1 ? 0x20 : 0, devs[i]->n_queues);
	}
}

static void queues_run(void)
{
	for (unsigned i = 0; i < SLOTS; i++)
		for (unsigned q = 0; q < devs[i]->n_queues; q++)
			devs[i]->dev.ops->queue(&devs[i]->dev, q);
}

static void state_restore(unsigned i, const uint8_t *data, size_t len)
{
	struct cl_reader r;

	if (n_waiting)
		return; /* only a quiet device is restored */
	cl_reader_init(&r, data, len);
	if (devs[i]->dev.ops->restore(&devs[i]->dev, &r) < 0)
		machine_new();
	else
		devs[i]->dev.ops->kick_all(&devs[i]->dev);
}

/* One step of 12 bytes: what, where (4), value (7). */
static void step(const uint8_t *s)
{
	static uint8_t state[VMM_DEV_STATE_MAX];
	unsigned width = 1u << (s[0] >> 4 & 3);
	struct cl_writer w;
	uint64_t value = 0;
	uint32_t where;

	memcpy(&where, s + 1, 4);
	memcpy(&value, s + 5, 7);
	switch (s[0] & 15) {
	case 0:
	case 1:
		vmm_bus_pio(&guest_bus, where & 0xffff, &value, width, s[0] & 1);
		break;
	case 2:
		guest_cfg_write(where >> 8 & 7, where & 0xff, width, (uint32_t)value);
		break;
	case 3:
		(void)guest_cfg_read(where >> 8 & 7, where & 0xff, width);
		break;
	case 4:
		guest_write(VMM_GPA_PCI + (where & 0x7fffff), width, value);
		break;
	case 5:
		(void)guest_read(VMM_GPA_PCI + (where & 0x7fffff), width);
		break;
	case 6: /* guest memory where the rings are */
	case 7:
		guest_put(0x1000 + (where & 0xffff), value, 7);
		break;
	case 8:
		queues_run();
		break;
	case 9:
		disk_answer(where, where & 256 ? -EIO : 0);
		break;
	case 10:
		(void)vmm_net_rx(&net, guest_ram, where % 2000);
		vmm_net_rx_flush(&net);
		break;
	case 11:
		(void)vmm_console_input(&console, s + 5, 7);
		(void)vmm_serial_input(&guest_serial, s + 5, 7);
		break;
	case 12: /* there and back with one byte changed */
		where %= SLOTS;
		cl_writer_init(&w, state, sizeof(state));
		devs[where]->dev.ops->save(&devs[where]->dev, &w);
		if (cl_writer_done(&w) <= 0)
			abort();
		state[value % w.pos] ^= s[11];
		state_restore(where, state, w.pos);
		break;
	case 13:
		vmm_pm_power_button(&guest_pm);
		break;
	case 14:
		for (unsigned i = 0; i < SLOTS; i++)
			devs[i]->dev.quiesced = where & 1;
		break;
	case 15:
		guest_avail(where & 1, (unsigned)value, where >> 1 & 7);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	machine_new();
	for (; len >= 12; data += 12, len -= 12)
		step(data);
	/* Whatever happened: everything in flight comes back, and then nothing is held. */
	for (unsigned i = 0; i < SLOTS; i++)
		devs[i]->dev.quiesced = true;
	while (n_waiting)
		disk_answer(0, 0);
	for (unsigned i = 0; i < SLOTS; i++)
		if (devs[i]->dev.ops->in_flight(&devs[i]->dev))
			abort();
	return 0;
}
