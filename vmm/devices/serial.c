/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * 16550A registers (PC16550D data sheet, tables II and III).  No timing: bytes
 * leave when written; received bytes interrupt at once whatever the trigger level.
 */
#include "vmm/devices/serial.h"

#include <errno.h>
#include <string.h>

#define IER_RDI	 0x01u
#define IER_THRI 0x02u
#define IER_RLSI 0x04u

#define IIR_NONE 0x01u
#define IIR_THRI 0x02u
#define IIR_RDI	 0x04u
#define IIR_RLSI 0x06u
#define IIR_FIFO 0xc0u

#define FCR_ENABLE   0x01u
#define FCR_CLEAR_RX 0x02u

#define LCR_DLAB 0x80u

#define MCR_LOOP 0x10u

#define LSR_DATA    0x01u
#define LSR_OVERRUN 0x02u
#define LSR_EMPTY   0x60u /* holding register and shifter */

#define MSR_CONNECTED 0xb0u /* DCD, DSR, CTS */

static uint8_t irq_source(const struct vmm_serial *s)
{
	if ((s->ier & IER_RLSI) && s->lsr_errors)
		return IIR_RLSI;
	if ((s->ier & IER_RDI) && s->fifo_len)
		return IIR_RDI;
	if ((s->ier & IER_THRI) && s->thre_pending)
		return IIR_THRI;
	return IIR_NONE;
}

static void irq_update(struct vmm_serial *s)
{
	bool line = irq_source(s) != IIR_NONE;

	if (line == s->line)
		return;
	s->line = line;
	s->dev.host->irq(s->dev.host->arg, s->gsi, line);
}

size_t vmm_serial_room(const struct vmm_serial *s)
{
	return s->dev.quiesced ? 0 : VMM_SERIAL_FIFO - s->fifo_len;
}

size_t vmm_serial_input(struct vmm_serial *s, const uint8_t *data, size_t len_bytes)
{
	size_t n = vmm_serial_room(s);

	if (n > len_bytes)
		n = len_bytes;
	memcpy(s->fifo + s->fifo_len, data, n);
	s->fifo_len += (unsigned)n;
	irq_update(s);
	return n;
}

static uint8_t data_read(struct vmm_serial *s)
{
	uint8_t v;

	if (!s->fifo_len)
		return 0;
	v = s->fifo[0];
	s->fifo_len--;
	memmove(s->fifo, s->fifo + 1, s->fifo_len);
	if (!s->fifo_len && !(s->mcr & MCR_LOOP))
		s->in_ready(s->arg);
	return v;
}

static uint8_t msr(const struct vmm_serial *s)
{
	if (!(s->mcr & MCR_LOOP))
		return MSR_CONNECTED;
	/* DTR to DSR, RTS to CTS, OUT1 to RI, OUT2 to DCD. */
	return (uint8_t)((s->mcr & 1) << 5 | (s->mcr & 2) << 3 | (s->mcr & 4) << 4 |
			 (s->mcr & 8) << 4);
}

uint8_t vmm_serial_read(struct vmm_serial *s, unsigned reg)
{
	uint8_t v = 0xff;

	switch (reg & 7) {
	case 0:
		v = s->lcr & LCR_DLAB ? (uint8_t)s->divisor : data_read(s);
		break;
	case 1:
		v = s->lcr & LCR_DLAB ? (uint8_t)(s->divisor >> 8) : s->ier;
		break;
	case 2:
		v = irq_source(s);
		if (v == IIR_THRI)
			s->thre_pending = false;
		if (s->fcr & FCR_ENABLE)
			v |= IIR_FIFO;
		break;
	case 3:
		v = s->lcr;
		break;
	case 4:
		v = s->mcr;
		break;
	case 5:
		v = (uint8_t)(LSR_EMPTY | s->lsr_errors | (s->fifo_len ? LSR_DATA : 0));
		s->lsr_errors = 0;
		break;
	case 6:
		v = msr(s);
		break;
	case 7:
		v = s->scr;
		break;
	}
	irq_update(s);
	return v;
}

static void data_write(struct vmm_serial *s, uint8_t value)
{
	s->thre_pending = true;
	if (!(s->mcr & MCR_LOOP)) {
		s->out(s->arg, &value, 1);
	} else if (s->fifo_len < VMM_SERIAL_FIFO) {
		s->fifo[s->fifo_len++] = value;
	} else {
		s->lsr_errors |= LSR_OVERRUN;
	}
}

void vmm_serial_write(struct vmm_serial *s, unsigned reg, uint8_t value)
{
	switch (reg & 7) {
	case 0:
		if (s->lcr & LCR_DLAB)
			s->divisor = (uint16_t)((s->divisor & 0xff00u) | value);
		else
			data_write(s, value);
		break;
	case 1:
		if (s->lcr & LCR_DLAB) {
			s->divisor = (uint16_t)((s->divisor & 0xffu) | value << 8);
			break;
		}
		if ((value & IER_THRI) && !(s->ier & IER_THRI))
			s->thre_pending = true;
		s->ier = value & 0x0f;
		break;
	case 2:
		if ((value & FCR_CLEAR_RX) || ((value ^ s->fcr) & FCR_ENABLE))
			s->fifo_len = 0;
		s->fcr = value & 0xc9;
		break;
	case 3:
		s->lcr = value;
		break;
	case 4:
		s->mcr = value & 0x1f;
		break;
	case 7:
		s->scr = value;
		break;
	}
	irq_update(s);
}

static void serial_save(struct vmm_dev *dev, struct cl_writer *w)
{
	const struct vmm_serial *s = (const struct vmm_serial *)dev;

	cl_write_u8(w, 1);
	cl_write_u8(w, s->ier);
	cl_write_u8(w, s->lcr);
	cl_write_u8(w, s->mcr);
	cl_write_u8(w, s->scr);
	cl_write_u8(w, s->fcr);
	cl_write_u8(w, s->lsr_errors);
	cl_write_u16(w, s->divisor);
	cl_write_u8(w, s->thre_pending);
	cl_write_u8(w, (uint8_t)s->fifo_len);
	cl_write_bytes(w, s->fifo, sizeof(s->fifo));
}

static int serial_restore(struct vmm_dev *dev, struct cl_reader *r)
{
	struct vmm_serial *s = (struct vmm_serial *)dev;
	uint8_t version = cl_read_u8(r), thre, len;

	s->ier = cl_read_u8(r) & 0x0f;
	s->lcr = cl_read_u8(r);
	s->mcr = cl_read_u8(r) & 0x1f;
	s->scr = cl_read_u8(r);
	s->fcr = cl_read_u8(r) & 0xc9;
	s->lsr_errors = cl_read_u8(r) & LSR_OVERRUN;
	s->divisor = cl_read_u16(r);
	thre = cl_read_u8(r);
	len = cl_read_u8(r);
	cl_read_bytes(r, s->fifo, sizeof(s->fifo));
	if (r->bad || version != 1 || thre > 1 || len > VMM_SERIAL_FIFO) {
		s->fifo_len = 0;
		return -EBADMSG;
	}
	s->thre_pending = thre;
	s->fifo_len = len;
	s->line = false;
	return 0;
}

/* An edge-triggered line whose edge was lost would hang the driver: make a new one. */
static void serial_kick_all(struct vmm_dev *dev)
{
	struct vmm_serial *s = (struct vmm_serial *)dev;

	s->line = false;
	dev->host->irq(dev->host->arg, s->gsi, false);
	if (s->ier & IER_THRI)
		s->thre_pending = true;
	irq_update(s);
}

static const struct vmm_dev_ops serial_ops = {
	.save = serial_save,
	.restore = serial_restore,
	.kick_all = serial_kick_all,
};

void vmm_serial_init(struct vmm_serial *s, const struct vmm_host *host, unsigned gsi,
		     void (*out)(void *arg, const uint8_t *data, size_t len_bytes),
		     void (*in_ready)(void *arg), void *arg)
{
	memset(s, 0, sizeof(*s));
	s->dev.ops = &serial_ops;
	s->dev.host = host;
	memcpy(s->dev.name, "serial0", 8);
	s->gsi = gsi;
	s->out = out;
	s->in_ready = in_ready;
	s->arg = arg;
	s->divisor = 12;
}
