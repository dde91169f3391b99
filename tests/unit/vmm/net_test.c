/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Frames in and out of the network device, console bytes, and drivers that misbehave. */
#include "tests/unit/vmm/guest.h"
#include "tests/unit/unit.h"

#include <errno.h>

#include "vmm/devices/console.h"
#include "vmm/devices/net.h"

#define SLOT 1u
#define BUF  0x30000u

static struct vmm_net net;
static struct vmm_console console;
static uint64_t bar;
static uint8_t sent[VMM_NET_FRAME_MAX];
static size_t n_sent, sent_len;
static int tx_result;
static unsigned readies;

static int on_tx(void *arg, const uint8_t *frame, size_t len)
{
	if (tx_result == 0) {
		memcpy(sent, frame, len);
		sent_len = len;
		n_sent++;
	}
	return tx_result;
}

static void on_ready(void *arg)
{
	readies++;
}

static void fresh(void)
{
	static const uint8_t mac[6] = { 0x52, 0x54, 0, 1, 2, 3 };

	guest_new();
	n_sent = sent_len = readies = 0;
	tx_result = 0;
	vmm_net_init(&net, &guest_host, "net0", mac, on_tx, on_ready, NULL);
	CU_ASSERT_EQUAL(vmm_pci_bus_add(&guest_pci, &net.virtio.pci), 0);
	bar = guest_cfg_read(SLOT, 0x10, 4) & ~0xfu;
	guest_driver(bar, SLOT, 1u << 5, 2);
}

static void test_transmit(void)
{
	fresh();
	CU_ASSERT_EQUAL(guest_read(bar + 0x2000, 4), 0x01005452u);
	memset(guest_ram + BUF + 12, 'f', 60);
	guest_desc(1, 0, BUF, 12, 1, 1);
	guest_desc(1, 1, BUF + 12, 60, 0, 0);
	guest_avail(1, 0, 0);
	net.virtio.dev.ops->queue(&net.virtio.dev, 1);
	CU_ASSERT_EQUAL(n_sent, 1);
	CU_ASSERT_EQUAL(sent_len, 60);
	CU_ASSERT_EQUAL(guest_used(1), 1);
	/* The wire is full: the frame stays, and goes later. */
	tx_result = -EAGAIN;
	guest_avail(1, 1, 0);
	net.virtio.dev.ops->queue(&net.virtio.dev, 1);
	CU_ASSERT_EQUAL(guest_used(1), 1);
	tx_result = 0;
	net.virtio.dev.ops->queue(&net.virtio.dev, 1);
	CU_ASSERT_EQUAL(guest_used(1), 2);
	/* Shorter than its header. */
	guest_desc(1, 0, BUF, 11, 0, 0);
	guest_avail(1, 2, 0);
	net.virtio.dev.ops->queue(&net.virtio.dev, 1);
	CU_ASSERT_TRUE(guest_read(bar + 20, 1) & VMM_VIRTIO_STATUS_NEEDS_RESET);
	CU_ASSERT_EQUAL(n_sent, 2);
}

static void test_receive(void)
{
	static uint8_t frame[1514] = { [0] = 0xff, [1513] = 9 };

	fresh();
	CU_ASSERT_EQUAL(vmm_net_rx(&net, frame, 60), -EAGAIN);
	guest_desc(0, 0, BUF, 1526, 2, 0);
	guest_avail(0, 0, 0);
	net.virtio.dev.ops->queue(&net.virtio.dev, 0);
	CU_ASSERT_EQUAL(readies, 1);
	CU_ASSERT_EQUAL(vmm_net_rx(&net, frame, sizeof(frame)), 0);
	vmm_net_rx_flush(&net);
	CU_ASSERT_EQUAL(guest_used(0), 1);
	CU_ASSERT_EQUAL(guest_ram[BUF + 10], 1);
	CU_ASSERT_EQUAL(guest_ram[BUF + 12 + 1513], 9);
	CU_ASSERT_EQUAL(guest_msi_data, 0x41);
	/* A buffer that is too small keeps its place; one without room for a header breaks it. */
	guest_desc(0, 0, BUF, 100, 2, 0);
	guest_avail(0, 1, 0);
	CU_ASSERT_EQUAL(vmm_net_rx(&net, frame, sizeof(frame)), 0);
	CU_ASSERT_EQUAL(guest_used(0), 1);
	CU_ASSERT_EQUAL(vmm_net_rx(&net, frame, 60), 0);
	CU_ASSERT_EQUAL(guest_used(0), 2);
	guest_desc(0, 0, BUF, 4, 2, 0);
	guest_avail(0, 2, 0);
	(void)vmm_net_rx(&net, frame, 60);
	CU_ASSERT_TRUE(guest_read(bar + 20, 1) & VMM_VIRTIO_STATUS_NEEDS_RESET);
	CU_ASSERT_EQUAL(vmm_net_rx(&net, frame, 60), 0);
}

static bool may;

static bool on_may_act(void *arg)
{
	(void)arg;
	return may;
}

/* Nothing leaves and nothing comes in while the world says no; then it does what was left. */
static void test_may_not(void)
{
	static const uint8_t frame[60];

	fresh();
	guest_host.may_act = on_may_act;
	may = false;
	guest_desc(1, 0, BUF, 12 + 60, 0, 0);
	guest_avail(1, 0, 0);
	guest_desc(0, 0, BUF + 4096, 1526, 2, 0);
	guest_avail(0, 0, 0);
	net.virtio.dev.ops->queue(&net.virtio.dev, 1);
	CU_ASSERT_EQUAL(vmm_net_rx(&net, frame, sizeof(frame)), -EAGAIN);
	CU_ASSERT(n_sent == 0 && guest_used(0) == 0 && guest_used(1) == 0);
	may = true;
	net.virtio.dev.ops->queue(&net.virtio.dev, 1);
	CU_ASSERT_EQUAL(vmm_net_rx(&net, frame, sizeof(frame)), 0);
	CU_ASSERT(n_sent == 1 && guest_used(0) == 1 && guest_used(1) == 1);
	guest_host.may_act = NULL;
}

static void test_announce(void)
{
	uint8_t frame[VMM_NET_RARP_BYTES];

	fresh();
	vmm_net_rarp(&net, frame);
	CU_ASSERT_EQUAL(frame[0], 0xff);
	CU_ASSERT_EQUAL(memcmp(frame + 6, net.mac, 6), 0);
	CU_ASSERT_EQUAL(memcmp(frame + 12, "\x80\x35", 2), 0);
}

static void test_console(void)
{
	guest_new();
	vmm_console_init(&console, &guest_host, guest_on_out, on_ready, NULL);
	CU_ASSERT_EQUAL(vmm_pci_bus_add(&guest_pci, &console.virtio.pci), 0);
	bar = guest_cfg_read(SLOT, 0x10, 4) & ~0xfu;
	guest_driver(bar, SLOT, 0, 2);
	memcpy(guest_ram + BUF, "hello", 5);
	guest_desc(1, 0, BUF, 5, 0, 0);
	guest_avail(1, 0, 0);
	console.virtio.dev.ops->queue(&console.virtio.dev, 1);
	CU_ASSERT_STRING_EQUAL(guest_out, "hello");
	/* One chain that names the same byte range often is cut, not obeyed. */
	CU_ASSERT_EQUAL(vmm_console_input(&console, (const uint8_t *)"in", 2), 0);
	guest_desc(0, 0, BUF, 1, 2, 0);
	guest_avail(0, 0, 0);
	CU_ASSERT_EQUAL(vmm_console_input(&console, (const uint8_t *)"in", 2), 1);
	CU_ASSERT_EQUAL(guest_ram[BUF], 'i');
}

UNIT_MAIN("net", { "transmit", test_transmit }, { "receive", test_receive },
	  { "may not", test_may_not }, { "announce", test_announce }, { "console", test_console })
