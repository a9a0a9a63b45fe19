/* SPDX-License-Identifier: GPL-2.0-or-later */
/* COM1, and how an image ends the machine it runs in. */
#include "image.h"

#include <stddef.h>

#define COM1 0x3f8

u32 image_status;

/* 115200 baud, 8 bits: a port that firmware has not set up sends 5. */
static void begin_line(void)
{
	static bool begun;

	if (begun)
		return;
	begun = true;
	outb(COM1 + 3, 0x83);
	outb(COM1, 1);
	outb(COM1 + 1, 0);
	outb(COM1 + 3, 3);
}

void print(const char *text)
{
	begin_line();
	for (; *text; text++) {
		while (!(inb(COM1 + 5) & 0x20)) /* transmitter holding register empty */
			;
		outb(COM1, *text);
	}
}

void print_hex(u64 value)
{
	char text[19] = "0x";
	unsigned at = 2;
	bool leading = true;

	for (int shift = 60; shift >= 0; shift -= 4) {
		unsigned digit = value >> shift & 15;

		leading = leading && !digit && shift;
		if (!leading)
			text[at++] = "0123456789abcdef"[digit];
	}
	text[at] = 0;
	print(text);
}

void image_exit(void)
{
	const char *word = "Shutdown";

	while (!(inb(COM1 + 5) & 0x40)) /* all is sent */
		;
	outl(0x501, image_status); /* isa-debug-exit of lodge-vmm and QEMU */
	for (; *word; word++)      /* Bochs */
		outb(0x8900, *word);
	for (;;)
		__asm__ volatile("cli; hlt");
}

/* Compilers call it for large initialisers, whatever they are told. */
void *memset(void *to, int value, size_t bytes);
void *memset(void *to, int value, size_t bytes)
{
	void *at = to;

	__asm__ volatile("rep stosb" : "+D"(at), "+c"(bytes) : "a"(value) : "memory");
	return to;
}
