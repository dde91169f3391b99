/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A guest of our own, as a bzImage: 64-bit integer code that even an emulating KVM runs.  It writes a counter
 * round and round over PAGES pages, checks what it finds there, and prints on COM1
 *
 *     COUNTER TSC\n      both in hexadecimal, each 1024 steps
 *     !                  when a page does not hold what was written there last
 *
 * A page that migration lost, or a clock that went back, so shows by itself.
 */
#define PAGES	 256
#define DATA	 0x1800000
#define COM1	 0x3f8
#define EVERY	 0x3ff

	.code64
	.text
	.globl _start
_start:
	.org 0x1f1
	.byte 1			/* setup_sects: one beside the boot sector */
	.org 0x1f4
	.long (end - kernel + 15) / 16
	.org 0x1fe
	.word 0xaa55
	.byte 0xeb, 0x66	/* jump over the header, which gives its length */
	.ascii "HdrS"
	.word 0x020f
	.org 0x211
	.byte 1			/* LOADED_HIGH */
	.org 0x22c
	.long 0x7fffffff	/* initrd_addr_max */
	.long 0x200000		/* kernel_alignment */
	.byte 1			/* relocatable */
	.org 0x236
	.word 1			/* XLF_KERNEL_64 */
	.long 2047		/* cmdline_size */
	.org 0x258
	.quad 0x1000000		/* pref_address */
	.long 0x100000		/* init_size */
	.org 0x400
kernel:
	.org kernel + 0x200 - _start
entry:
	xor %r8, %r8
	mov $DATA, %rbx
step:
	inc %r8
	mov %r8, %rax
	and $(PAGES - 1), %rax
	shl $12, %rax
	mov (%rbx, %rax), %rcx
	test %rcx, %rcx
	jz fresh
	add $PAGES, %rcx
	cmp %r8, %rcx
	je fresh
	mov $COM1, %edx
	mov $'!', %al
	out %al, %dx
	mov %r8, %rax
	and $(PAGES - 1), %rax
	shl $12, %rax
fresh:
	mov %r8, (%rbx, %rax)
	test $EVERY, %r8
	jnz step
	mov %r8, %rsi
	call print
	mov $' ', %al
	out %al, %dx
	rdtsc
	shl $32, %rdx
	or %rdx, %rax
	mov %rax, %rsi
	call print
	mov $'\n', %al
	out %al, %dx
	jmp step

/* %rsi as 16 digits; leaves COM1 in %edx */
print:
	mov $16, %ecx
1:
	rol $4, %rsi
	mov %esi, %eax
	and $15, %eax
	cmp $10, %eax
	jb 2f
	add $('a' - '0' - 10), %eax
2:
	add $'0', %eax
	mov $COM1, %edx
	out %al, %dx
	dec %ecx
	jnz 1b
	ret
	.balign 16
end:
	.balign 512
