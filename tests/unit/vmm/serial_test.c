/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The UART as Linux probes and uses it; power management ports; ports that nobody has. */
#include "tests/unit/vmm/guest.h"
#include "tests/unit/unit.h"

#include <errno.h>

#define COM VMM_PORT_COM1

static void test_probe(void)
{
	guest_new();
	/* 8250_port.c: IER, loopback, FIFO. */
	guest_outp(COM + 1, 1, 0);
	CU_ASSERT_EQUAL(guest_in(COM + 1, 1), 0);
	guest_outp(COM + 1, 1, 0x0f);
	CU_ASSERT_EQUAL(guest_in(COM + 1, 1), 0x0f);
	guest_outp(COM + 1, 1, 0);
	guest_outp(COM + 4, 1, 0x1a);
	CU_ASSERT_EQUAL(guest_in(COM + 6, 1) & 0xf0, 0x90);
	guest_outp(COM + 4, 1, 0);
	guest_outp(COM + 2, 1, 1);
	CU_ASSERT_EQUAL(guest_in(COM + 2, 1) >> 6, 3);
	guest_outp(COM + 3, 1, 0x80);
	guest_outp(COM, 1, 1);
	guest_outp(COM + 1, 1, 2);
	CU_ASSERT_EQUAL(guest_in(COM, 2), 0x0201);
	guest_outp(COM + 3, 1, 3);
	guest_outp(COM + 7, 1, 0x5a);
	CU_ASSERT_EQUAL(guest_in(COM + 7, 1), 0x5a);
}

static void test_output(void)
{
	guest_new();
	for (const char *p = "hello"; *p; p++)
		guest_outp(COM, 1, (uint8_t)*p);
	CU_ASSERT_STRING_EQUAL(guest_out, "hello");
	CU_ASSERT_EQUAL(guest_in(COM + 5, 1), 0x60);
	/* The transmitter-empty interrupt: once when asked for, once a write, gone when identified. */
	guest_outp(COM + 1, 1, 2);
	CU_ASSERT_TRUE(guest_line[4]);
	CU_ASSERT_EQUAL(guest_in(COM + 2, 1) & 0x0f, 2);
	CU_ASSERT_FALSE(guest_line[4]);
	guest_outp(COM, 1, '!');
	CU_ASSERT_TRUE(guest_line[4]);
}

static void test_input(void)
{
	guest_new();
	guest_outp(COM + 1, 1, 1);
	CU_ASSERT_EQUAL(vmm_serial_input(&guest_serial, (const uint8_t *)"0123456789abcdefgh", 18),
			16);
	CU_ASSERT_TRUE(guest_line[4]);
	CU_ASSERT_EQUAL(vmm_serial_room(&guest_serial), 0);
	for (unsigned i = 0; i < 16; i++) {
		CU_ASSERT_EQUAL(guest_in(COM + 5, 1) & 1, 1);
		CU_ASSERT_EQUAL(guest_in(COM, 1), (uint8_t) "0123456789abcdef"[i]);
	}
	CU_ASSERT_FALSE(guest_line[4]);
	CU_ASSERT_EQUAL(guest_in(COM + 5, 1) & 1, 0);
}

static void test_state(void)
{
	static uint8_t state[256];
	struct cl_writer w;
	struct cl_reader r;

	guest_new();
	guest_outp(COM + 1, 1, 1);
	(void)vmm_serial_input(&guest_serial, (const uint8_t *)"xy", 2);
	cl_writer_init(&w, state, sizeof(state));
	guest_serial.dev.ops->save(&guest_serial.dev, &w);
	CU_ASSERT_TRUE(cl_writer_done(&w) > 0);
	guest_new();
	cl_reader_init(&r, state, w.pos);
	CU_ASSERT_EQUAL(guest_serial.dev.ops->restore(&guest_serial.dev, &r), 0);
	guest_serial.dev.ops->kick_all(&guest_serial.dev);
	CU_ASSERT_TRUE(guest_line[4]);
	CU_ASSERT_EQUAL(guest_in(COM, 1), 'x');
	state[10] = 17; /* more than its FIFO holds */
	cl_reader_init(&r, state, w.pos);
	CU_ASSERT_EQUAL(guest_serial.dev.ops->restore(&guest_serial.dev, &r), -EBADMSG);
}

static void test_power(void)
{
	guest_new();
	vmm_pm_power_button(&guest_pm);
	CU_ASSERT_TRUE(guest_line[9]);
	CU_ASSERT_EQUAL(guest_in(VMM_PORT_PM + VMM_PM_EVENTS, 1), 1);
	CU_ASSERT_FALSE(guest_line[9]);
	CU_ASSERT_EQUAL(guest_in(VMM_PORT_PM + VMM_PM_EVENTS, 1), 0);
	guest_outp(VMM_PORT_PM, 1, 0x20); /* S0: no */
	CU_ASSERT_EQUAL(guest_stopped, VMM_EXIT_NONE);
	guest_outp(VMM_PORT_PM, 1, 5 << 2 | 0x20);
	CU_ASSERT_EQUAL(guest_stopped, VMM_EXIT_GUEST_SHUTDOWN);
	guest_outp(VMM_PORT_PM + VMM_PM_RESET, 1, VMM_PM_RESET_VALUE);
	CU_ASSERT_EQUAL(guest_stopped, VMM_EXIT_GUEST_RESET);
	guest_new();
	guest_outp(0x64, 1, 0xfe);
	CU_ASSERT_EQUAL(guest_stopped, VMM_EXIT_GUEST_RESET);
}

static void test_nobody(void)
{
	guest_new();
	CU_ASSERT_EQUAL(guest_in(0x80, 1), 0xff);
	CU_ASSERT_EQUAL(guest_in(0xffff, 4), 0xffffffff);
	CU_ASSERT_EQUAL(guest_in(COM + 7, 4), 0xffffff00u); /* one of four is ours */
	CU_ASSERT_EQUAL(guest_read(0xfec00000, 4), 0xffffffff);
	guest_write(UINT64_MAX, 8, 1);
}

UNIT_MAIN("serial", { "Linux probes it", test_probe }, { "output", test_output },
	  { "input", test_input }, { "state", test_state }, { "power", test_power },
	  { "what nobody claims", test_nobody })
