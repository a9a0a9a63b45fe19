/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The keyboard behind the 8042, as a driver sees it: what keys say in either scan code set, how
 * long they are held, and guests that do not want or do not take what they say. That every key has
 * the code that Linux knows it by, a guest tells (tests/guest).
 */
#include "testvm.h"

#include <string.h>

static const char *press(struct vm *vm, unsigned hold_ms, const char *keys)
{
	return vm->keyboard.press(vm, (const u8 *)keys, strlen(keys), hold_ms);
}

/* What the data port says until the status says that there is no more, in hexadecimal. */
static void assert_keyboard_says(struct vm *vm, const char *expected)
{
	GString *said = g_string_new(NULL);

	while (pio_read(vm, 0x64, 1) & 1) {
		g_assert_cmpuint(vm->irq.asserted[1], ==, 1);
		g_string_append_printf(said, "%02x ", (unsigned)pio_read(vm, 0x60, 1));
	}
	g_assert_cmpuint(vm->irq.asserted[1], ==, 0);
	g_assert_cmpstr(said->str, ==, expected);
	g_string_free(said, TRUE);
}

static void tell_keyboard(struct vm *vm, const char *bytes, const char *answer)
{
	for (; *bytes; bytes++)
		pio_write(vm, 0x60, 1, (u8)*bytes);
	assert_keyboard_says(vm, answer);
}

static void set_config(struct vm *vm, u8 config)
{
	pio_write(vm, 0x64, 1, 0x60);
	pio_write(vm, 0x60, 1, config);
}

#define CTRL  "\x1d"
#define ALT   "\x38"
#define A     "\x1e"
#define SYSRQ "\x63"
#define DEL   "\x6f"
#define PAUSE "\x77"

static void test_keyboard(void)
{
	struct vm *vm = test_vm_new(1, 4 * MIB);

	/* translated, as all software has it; keys are let go in the other order */
	g_assert_null(press(vm, 0, CTRL ALT DEL));
	assert_keyboard_says(vm, "1d 38 e0 53 ");
	vm_clock_advance(&vm->clock, 99999999);
	assert_keyboard_says(vm, "");
	vm_clock_advance(&vm->clock, 1);
	assert_keyboard_says(vm, "e0 d3 b8 9d ");
	/* the next ones let go what is held */
	g_assert_null(press(vm, 1000, A));
	g_assert_null(press(vm, 5, PAUSE));
	assert_keyboard_says(vm, "1e 9e e1 1d 45 e1 9d c5 ");
	vm_clock_advance(&vm->clock, 5000000);
	assert_keyboard_says(vm, "");
	g_assert_null(press(vm, 5, SYSRQ));
	vm_clock_advance(&vm->clock, 5000000);
	g_assert_null(press(vm, 5, ALT SYSRQ));
	vm_clock_advance(&vm->clock, 5000000);
	assert_keyboard_says(vm, "e0 37 e0 b7 38 54 d4 b8 ");
	/* raw, in either set */
	set_config(vm, 0x05);
	g_assert_null(press(vm, 5, A DEL PAUSE ALT SYSRQ));
	vm_clock_advance(&vm->clock, 5000000);
	assert_keyboard_says(vm,
			     "1c e0 71 e1 14 77 e1 f0 14 f0 77 11 84 f0 84 f0 11 e0 f0 71 f0 1c ");
	tell_keyboard(vm, "\xf0\x01", "fa fa ");
	g_assert_null(press(vm, 5, DEL));
	vm_clock_advance(&vm->clock, 5000000);
	assert_keyboard_says(vm, "e0 53 e0 d3 ");
	tell_keyboard(vm, "\xf0\x03", "fa fe ");
	pio_write(vm, 0x60, 1, 0xf0);
	pio_write(vm, 0x60, 1, 0);
	assert_keyboard_says(vm, "fa fa 01 ");
	tell_keyboard(vm, "\xff", "fa aa ");
	vm_free(vm);
}

/* No key comes while a driver waits for an answer, not even one that was there first. */
static void test_commands_first(void)
{
	struct vm *vm = test_vm_new(1, 4 * MIB);

	g_assert_null(press(vm, 1, A));
	g_assert_cmphex(pio_read(vm, 0x64, 1) & 1, ==, 1);
	pio_write(vm, 0x60, 1, 0xed);
	assert_keyboard_says(vm, "fa ");
	vm_clock_advance(&vm->clock, 1000000);
	assert_keyboard_says(vm, "");
	pio_write(vm, 0x60, 1, 0x04);
	assert_keyboard_says(vm, "fa 1e 9e ");
	vm_free(vm);
}

/* Guests that do not want keys, or do not take them. */
static void test_deaf_keyboard(void)
{
	static const u8 once[] = { 0x1d, 0x38, 0xe0, 0x53, 0xe0, 0xd3, 0xb8, 0x9d };
	struct vm *vm = test_vm_new(1, 4 * MIB);
	unsigned presses = 0;

	tell_keyboard(vm, "\xf5", "fa ");
	g_assert_nonnull(strstr(press(vm, 0, A), "switched its keyboard off"));
	tell_keyboard(vm, "\xf4", "fa ");
	g_assert_null(press(vm, 1, A));
	assert_keyboard_says(vm, "1e ");
	/* what is held is not let go by one that was told to forget */
	tell_keyboard(vm, "\xf6", "fa ");
	vm_clock_advance(&vm->clock, 1000000);
	assert_keyboard_says(vm, "");
	/* while the way to it is off, keys wait, and answers of the controller do not */
	pio_write(vm, 0x64, 1, 0xad);
	g_assert_null(press(vm, 1, A));
	vm_clock_advance(&vm->clock, 1000000);
	assert_keyboard_says(vm, "");
	pio_write(vm, 0x64, 1, 0x20);
	g_assert_cmphex(pio_read(vm, 0x60, 1), ==, 0x75);
	pio_write(vm, 0x64, 1, 0xae);
	assert_keyboard_says(vm, "1e 9e ");
	/* nobody takes them: whole presses are refused, none is cut */
	while (!press(vm, 1, CTRL ALT DEL) && presses < 1000) {
		vm_clock_advance(&vm->clock, 1000000);
		presses++;
	}
	g_assert_cmpuint(presses, >, 10);
	g_assert_cmpuint(presses, <, 1000);
	g_assert_nonnull(strstr(press(vm, 1, CTRL ALT DEL), "does not read its keyboard"));
	while (presses--)
		for (unsigned i = 0; i < sizeof(once); i++)
			g_assert_cmphex(pio_read(vm, 0x60, 1), ==, once[i]);
	assert_keyboard_says(vm, "");
	vm_free(vm);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/keyboard/codes", test_keyboard);
	g_test_add_func("/keyboard/commands-first", test_commands_first);
	g_test_add_func("/keyboard/deaf", test_deaf_keyboard);
	return g_test_run();
}
