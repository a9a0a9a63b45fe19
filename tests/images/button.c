/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Waits for the power button and powers off, as an operating system does (ACPI 6.4, 4.8.3):
 * says "up" at first. On the console an h is answered, an x is a triple fault.
 */
#include "image.h"

#define COM1          0x3f8
#define PM1_STATUS    0x600 /* as the FADT says */
#define PM1_CONTROL   0x604
#define STATUS_BUTTON 0x100
#define SLEEP_S5      (5 << 10 | 1 << 13)

static u16 inw(u16 port)
{
	u16 value;

	__asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static void outw(u16 port, u16 value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static void crash(void)
{
	static const struct {
		u16 limit;
		u64 base;
	} __attribute__((packed)) none;

	__asm__ volatile("lidt %0; ud2" : : "m"(none));
}

void image_main(void)
{
	print("up\n");
	while (!(inw(PM1_STATUS) & STATUS_BUTTON)) {
		u8 key = inb(COM1 + 5) & 1 ? inb(COM1) : 0;

		if (key == 'x')
			crash();
		if (key == 'h')
			print("here\n");
		for (int i = 0; i < 10000; i++)
			__asm__ volatile("pause");
	}
	outw(PM1_STATUS, STATUS_BUTTON);
	print("button\n");
	while (!(inb(COM1 + 5) & 0x40)) /* all is sent */
		;
	outw(PM1_CONTROL, SLEEP_S5);
	for (;;)
		__asm__ volatile("hlt");
}
