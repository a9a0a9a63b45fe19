/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A machine without an engine, for tests of everything around it: a fake struct accel whose
 * processors execute nothing, and accesses made by the test in the name of a processor.
 */
#ifndef LODGE_TESTS_UNIT_TESTVM_H
#define LODGE_TESTS_UNIT_TESTVM_H

#include "accel/accel.h"
#include "machine/vm.h"

extern const struct accel fake_accel;

#define TEST_TSC_HZ 2000000000ull

/* A q35 board with a stepped clock, devices reset, no threads. */
struct vm *test_vm_new(unsigned vcpus, u64 memory_bytes);
/* The same on an engine that has local APICs itself. */
struct vm *test_vm_new_with_lapics(unsigned vcpus, u64 memory_bytes);
/* The same on one without, which can be moved to one with (machine/engine.h). */
struct vm *test_vm_new_movable(unsigned vcpus, u64 memory_bytes);
/* The same without any device. */
struct vm *test_vm_bare(unsigned vcpus, u64 memory_bytes);
/* Makes and realizes a device by type name; settings come between. */
struct device *test_device_new(struct vm *vm, const char *type, const char *id);
void test_device_realize(struct device *dev);

u64 pio_read(struct vm *vm, u16 port, unsigned size);
void pio_write(struct vm *vm, u16 port, unsigned size, u32 value);
u64 mmio_read(struct vm *vm, gpa_t gpa, unsigned size);
void mmio_write(struct vm *vm, gpa_t gpa, unsigned size, u64 value);
/* In the name of processor @cpu: its own local APIC is at 0xfee00000. */
u64 cpu_mmio_read(struct vm *vm, unsigned cpu, gpa_t gpa);
void cpu_mmio_write(struct vm *vm, unsigned cpu, gpa_t gpa, u32 value);
bool cpu_msr_read(struct vm *vm, unsigned cpu, u32 msr, u64 *value);
bool cpu_msr_write(struct vm *vm, unsigned cpu, u32 msr, u64 value);
int interrupt_ack(struct vm *vm, unsigned cpu);

/* enum accel_event bits raised and not cleared since. */
unsigned fake_events(struct vm *vm, unsigned cpu);
void fake_clear_events(struct vm *vm, unsigned cpu, unsigned events);
u8 fake_sipi_vector(struct vm *vm, unsigned cpu);
/* What the next runs of processor @cpu do, on its thread: returns true to run again, false to
 * halt. */
void fake_program(struct vm *vm, unsigned cpu,
		  bool (*step)(struct vm *vm, unsigned cpu, void *opaque), void *opaque);
/* test_vm_new_with_lapics(): the registers of an engine's local APIC, the last message to all of
 * them, what a pin of the I/O APIC was announced to send, and the end of a vector. */
struct fake_message {
	u64 address;
	u32 data, count;
};
struct x86_lapic *fake_lapic(struct vm *vm, unsigned cpu);
struct fake_message fake_message(struct vm *vm);
struct fake_message fake_level(struct vm *vm, unsigned pin);
void fake_eoi(struct vm *vm, u8 vector);
/* The eventfd that a write at @gpa counts in; -1: none. */
int fake_doorbell(struct vm *vm, gpa_t gpa);
/* What the engine that runs holds; it refuses a state with this RIP. */
#define FAKE_BAD_RIP 0xbad
struct x86_state *fake_state(struct vm *vm, unsigned cpu);
u64 *fake_kvm_clock(struct vm *vm);
unsigned fake_replaced(struct vm *vm); /* how often all of its memory was */
/* Bytes that were reported as written, in total. */
u64 fake_written(struct vm *vm);

#endif
