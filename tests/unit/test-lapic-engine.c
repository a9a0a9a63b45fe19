/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Local APICs that the engine emulates: what reaches them, that their saved state is that of ours,
 * in both directions, and that a machine can be moved between an engine with and one without.
 */
#include "machine/engine.h"
#include "state/state.h"
#include "testvm.h"

#include <errno.h>
#include <string.h>

#define LAPIC  0xfee00000ull
#define IOAPIC 0xfec00000ull
#define MS     1000000ull
#define REG(n) ((n) / 16)

static void ioapic_write(struct vm *vm, u8 reg, u32 value)
{
	mmio_write(vm, IOAPIC, 4, reg);
	mmio_write(vm, IOAPIC + 0x10, 4, value);
}

static void assert_message(struct fake_message m, u64 address, u32 data, u32 count)
{
	g_assert_cmphex(m.address, ==, address);
	g_assert_cmphex(m.data, ==, data);
	g_assert_cmpuint(m.count, ==, count);
}

static void test_reset(void)
{
	struct vm *vm = test_vm_new_with_lapics(2, 4 * MIB);

	for (unsigned cpu = 0; cpu < 2; cpu++) {
		const struct x86_lapic *l = fake_lapic(vm, cpu);

		g_assert_cmphex(l->base, ==, LAPIC | (cpu ? 0x800 : 0x900));
		g_assert_cmphex(l->regs[REG(0x20)], ==, cpu << 24);
		g_assert_cmphex(l->regs[REG(0xf0)], ==, 0xff);
		g_assert_cmphex(l->regs[REG(0xe0)], ==, 0xffffffff);
		for (unsigned reg = 0x320; reg <= 0x370; reg += 0x10)
			g_assert_cmphex(l->regs[REG(reg)], ==, 0x10000);
	}
	/* its page is not the machine's business */
	g_assert_cmphex(cpu_mmio_read(vm, 0, LAPIC + 0x30), ==, 0xffffffff);
	vm_free(vm);
}

static void test_messages(void)
{
	struct vm *vm = test_vm_new_with_lapics(2, 4 * MIB);
	struct irq_line line;

	vm_msi(vm, LAPIC | 1 << 12, 0x41);
	assert_message(fake_message(vm), LAPIC | 1 << 12, 0x41, 1);
	vm_msi(vm, LAPIC | 3 << 12 | 0x4, 0x142); /* logical, lowest priority */
	assert_message(fake_message(vm), LAPIC | 3 << 12 | 0x4, 0x142, 2);
	vm_msi(vm, 0x1000, 0x43);
	g_assert_cmpuint(fake_message(vm).count, ==, 2);

	/* an edge: sent, but nothing to announce */
	irq_line_init(&line, vm, 5);
	ioapic_write(vm, 0x11 + 2 * 5, 1 << 24);
	ioapic_write(vm, 0x10 + 2 * 5, 0x31);
	irq_line_set(&line, true);
	assert_message(fake_message(vm), LAPIC | 1 << 12, 0x31, 3);
	irq_line_set(&line, false);
	g_assert_cmpuint(fake_level(vm, 5).count, ==, 0);
	vm_free(vm);
}

static void test_level(void)
{
	struct vm *vm = test_vm_new_with_lapics(1, 4 * MIB);
	struct irq_line line;

	irq_line_init(&line, vm, 17);
	ioapic_write(vm, 0x10 + 2 * 17, 0x18035); /* masked: may mean nothing yet */
	g_assert_cmpuint(fake_level(vm, 17).count, ==, 0);
	ioapic_write(vm, 0x10 + 2 * 17, 0x8035);
	assert_message(fake_level(vm, 17), LAPIC, 0xc035, 1);
	irq_line_set(&line, true);
	assert_message(fake_message(vm), LAPIC, 0xc035, 1);
	fake_eoi(vm, 0x36); /* another one's */
	g_assert_cmpuint(fake_message(vm).count, ==, 1);
	fake_eoi(vm, 0x35); /* still high: again */
	g_assert_cmpuint(fake_message(vm).count, ==, 2);
	irq_line_set(&line, false);
	fake_eoi(vm, 0x35);
	g_assert_cmpuint(fake_message(vm).count, ==, 2);
	irq_line_set(&line, true);
	g_assert_cmpuint(fake_message(vm).count, ==, 3);
	vm_free(vm);
}

static void test_pic_and_nmi(void)
{
	struct vm *vm = test_vm_new_with_lapics(2, 4 * MIB);
	struct irq_line line;

	irq_line_init(&line, vm, 3);
	pio_write(vm, 0x20, 1, 0x11);
	pio_write(vm, 0x21, 1, 0x30);
	pio_write(vm, 0x21, 1, 4);
	pio_write(vm, 0x21, 1, 1);
	pio_write(vm, 0x21, 1, 0);
	irq_line_set(&line, true);
	g_assert_true(fake_events(vm, 0) & ACCEL_EVENT_INTR);
	g_assert_false(fake_events(vm, 1) & ACCEL_EVENT_INTR);
	g_assert_cmphex(interrupt_ack(vm, 0), ==, 0x33);
	g_assert_false(fake_events(vm, 0) & ACCEL_EVENT_INTR);
	vm_nmi(vm);
	g_assert_true(fake_events(vm, 1) & ACCEL_EVENT_NMI);
	vm_free(vm);
}

static void fill(struct x86_lapic *l)
{
	l->regs[REG(0x80)] = 0x20;
	l->regs[REG(0xd0)] = 0x02000000;
	l->regs[REG(0xf0)] = 0x1ff;
	l->regs[REG(0x100) + 2] = 1 << 3; /* 0x43 in service */
	l->regs[REG(0x180) + 2] = 1 << 3; /* level-triggered */
	l->regs[REG(0x200) + 3] = 1 << 1; /* 0x61 pending */
	l->regs[REG(0x320)] = 0x40;       /* one-shot */
	l->regs[REG(0x350)] = 0x10700;
	l->regs[REG(0x360)] = 0x400;
	l->regs[REG(0x380)] = 62500; /* 1 ms at 1 GHz / 16, of which half is gone */
	l->regs[REG(0x390)] = 31250;
	l->regs[REG(0x3e0)] = 3;
}

static void assert_registers(struct vm *vm, const struct x86_lapic *l)
{
	static const u16 regs[] = { 0x20,  0x80,  0xd0,  0xe0,  0xf0,  0x120, 0x1a0, 0x230,
				    0x320, 0x340, 0x350, 0x360, 0x370, 0x380, 0x390, 0x3e0 };

	for (unsigned i = 0; i < sizeof(regs) / sizeof(regs[0]); i++)
		g_assert_cmphex(cpu_mmio_read(vm, 1, LAPIC + regs[i]), ==, l->regs[REG(regs[i])]);
}

/* From an engine's to ours, where it goes on, and to another engine's. */
static void test_saved_state(void)
{
	struct vm *from = test_vm_new_with_lapics(2, 4 * MIB), *ours = test_vm_new(2, 4 * MIB),
		  *to = test_vm_new_with_lapics(2, 4 * MIB);
	GByteArray *state = g_byte_array_new();
	struct x86_lapic expected;
	GError *error = NULL;

	vm_clock_advance(&from->clock, 7 * MS);
	fill(fake_lapic(from, 1));
	expected = *fake_lapic(from, 1);
	state_save_vm(from, state);
	state_load_vm(ours, state->data, state->len, &error);
	g_assert_no_error(error);
	assert_registers(ours, &expected);
	g_assert_cmpint(interrupt_ack(ours, 1), ==, 0x61);
	cpu_mmio_write(ours, 1, LAPIC + 0xb0, 0);
	vm_clock_advance(&ours->clock, MS / 2 - 1000);
	g_assert_cmphex(cpu_mmio_read(ours, 1, LAPIC + 0x220), ==, 0);
	vm_clock_advance(&ours->clock, 1000); /* the timer's, below what is in service */
	g_assert_cmphex(cpu_mmio_read(ours, 1, LAPIC + 0x220), ==, 1);

	g_byte_array_set_size(state, 0);
	state_save_vm(ours, state);
	state_load_vm(to, state->data, state->len, &error);
	g_assert_no_error(error);
	expected.regs[REG(0x220)] = 1;
	expected.regs[REG(0x230)] = 0;
	expected.regs[REG(0x390)] = 0;
	expected.regs[REG(0x30)] = fake_lapic(to, 0)->regs[REG(0x30)];
	g_assert_cmpmem(fake_lapic(to, 1), sizeof(expected), &expected, sizeof(expected));
	g_byte_array_unref(state);
	vm_free(from);
	vm_free(ours);
	vm_free(to);
}

static void test_move(void)
{
	struct vm *vm = test_vm_new_movable(2, 4 * MIB);
	struct x86_lapic before;
	struct irq_line line;

	g_assert_cmpstr(vm_engine_name(vm), ==, "fake");
	cpu_mmio_write(vm, 1, LAPIC + 0xf0, 0x1ff);
	vm_msi(vm, LAPIC | 1 << 12, 0x41);
	irq_line_init(&line, vm, 17);
	ioapic_write(vm, 0x10 + 2 * 17, 0x8035);
	fake_state(vm, 1)->rip = 0x1234;
	vm->accel->set_tsc_offset(vm->vcpus[1]->accel, 77);
	*fake_kvm_clock(vm) = 55;

	g_assert_cmpint(vm_move(vm, NULL), ==, 0);
	g_assert_cmpstr(vm_engine_name(vm), ==, "fake-lapics");
	g_assert_cmphex(fake_state(vm, 1)->rip, ==, 0x1234);
	g_assert_cmpint(vm->accel->tsc_offset(vm->vcpus[1]->accel), ==, 77);
	g_assert_cmpuint(*fake_kvm_clock(vm), ==, 55);
	g_assert_cmpuint(fake_replaced(vm), ==, 1);
	g_assert_cmphex(fake_lapic(vm, 1)->regs[REG(0x220)], ==, 1 << 1);
	assert_message(fake_level(vm, 17), LAPIC, 0xc035, 1);
	vm_msi(vm, LAPIC | 1 << 12, 0x42);
	assert_message(fake_message(vm), LAPIC | 1 << 12, 0x42, 1);

	fill(fake_lapic(vm, 1));
	before = *fake_lapic(vm, 1);
	*fake_kvm_clock(vm) = 66;
	g_assert_cmpint(vm_move(vm, NULL), ==, 0);
	g_assert_cmpstr(vm_engine_name(vm), ==, "fake");
	g_assert_cmpuint(*fake_kvm_clock(vm), ==, 66);
	g_assert_cmpuint(fake_replaced(vm), ==, 1);
	assert_registers(vm, &before);
	g_assert_true(fake_events(vm, 1) & ACCEL_EVENT_INTR);
	g_assert_cmpint(interrupt_ack(vm, 1), ==, 0x61);
	vm_free(vm);
}

/* A state that the other engine does not take: the guest stays, with its interrupts. */
static void test_move_refused(void)
{
	struct vm *vm = test_vm_new_movable(2, 4 * MIB), *single = test_vm_new(1, 4 * MIB);
	GError *error = NULL;

	cpu_mmio_write(vm, 0, LAPIC + 0xf0, 0x1ff);
	vm_msi(vm, LAPIC, 0x41);
	fake_state(vm, 1)->rip = FAKE_BAD_RIP;
	g_assert_cmpint(vm_move(vm, &error), ==, -EINVAL);
	g_assert_cmpstr(error->message, ==,
			"the fake-lapics engine refuses the guest's state: Invalid argument");
	g_clear_error(&error);
	g_assert_cmpstr(vm_engine_name(vm), ==, "fake");
	g_assert_cmpint(interrupt_ack(vm, 0), ==, 0x41);
	fake_state(vm, 1)->rip = 0;
	g_assert_cmpint(vm_move(vm, NULL), ==, 0);

	g_assert_cmpint(vm_move(single, &error), ==, -ENOTSUP);
	g_assert_cmpstr(error->message, ==, "it has one engine only");
	g_error_free(error);
	vm_free(vm);
	vm_free(single);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/lapic-engine/reset", test_reset);
	g_test_add_func("/lapic-engine/messages", test_messages);
	g_test_add_func("/lapic-engine/level", test_level);
	g_test_add_func("/lapic-engine/pic and NMI", test_pic_and_nmi);
	g_test_add_func("/lapic-engine/saved state", test_saved_state);
	g_test_add_func("/lapic-engine/move", test_move);
	g_test_add_func("/lapic-engine/move refused", test_move_refused);
	return g_test_run();
}
