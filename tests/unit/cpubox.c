/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "cpubox.h"

#include "cpu/code.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static void note(struct box *b, u64 address, u64 data, unsigned size, bool write, bool pio)
{
	g_assert_cmpuint(b->log_count, <, ARRAY_LEN(b->log));
	b->log[b->log_count++] = (struct box_access){ address, data, size, write, pio };
}

static void box_mmio(void *opaque, unsigned index, gpa_t gpa, u64 *data, unsigned size, bool write)
{
	if (!write)
		*data = gpa;
	note(opaque, gpa, *data, size, write, false);
}

static void box_pio(void *opaque, unsigned index, u16 port, u32 *data, unsigned size, bool write)
{
	if (!write)
		*data = port * 0x10001u;
	note(opaque, port, *data, size, write, true);
}

static bool box_msr(void *opaque, unsigned index, u32 msr, u64 *data, bool write)
{
	return false;
}

static int box_ack(void *opaque, unsigned index)
{
	return -1;
}

static u64 box_cr8(void *opaque, unsigned index, u64 value, bool write)
{
	note(opaque, 8, value, 8, write, true);
	return 5;
}

struct box *box_new(const char *const *features_off)
{
	struct box *b = g_new0(struct box, 1);
	struct cpu_vm_config config = { .cpus = 1,
					.sockets = 1,
					.cores = 1,
					.threads = 1,
					.code_cache_bytes = 4 * MIB,
					.tsc_hz = 2000000000,
					.features_off = features_off,
					.bus = { .opaque = b,
						 .mmio = box_mmio,
						 .pio = box_pio,
						 .msr = box_msr,
						 .interrupt_ack = box_ack,
						 .cr8 = box_cr8 } };
	GError *error = NULL;

	b->vm = cpu_vm_new(&config, &error);
	g_assert_no_error(error);
	b->ram = mmap(NULL, BOX_RAM + MIB, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	b->rom = b->ram + BOX_ROM;
	g_assert_cmpint(cpu_vm_set_slot(b->vm, 0, 0, BOX_RAM, b->ram, 0), ==, 0);
	g_assert_cmpint(cpu_vm_set_slot(b->vm, 1, BOX_ROM, MIB, b->rom, CPU_SLOT_READONLY), ==, 0);
	b->cpu = cpu_new(b->vm, 0, &error);
	g_assert_no_error(error);
	return b;
}

void box_free(struct box *b)
{
	cpu_free(b->cpu);
	cpu_vm_free(b->vm);
	munmap(b->ram, BOX_RAM + MIB);
	g_free(b);
}

void box_put64(struct box *b, gpa_t gpa, u64 value)
{
	memcpy(b->ram + gpa, &value, 8);
}

u64 box_get64(struct box *b, gpa_t gpa)
{
	u64 value;

	memcpy(&value, b->ram + gpa, 8);
	return value;
}

u32 box_get32(struct box *b, gpa_t gpa)
{
	return box_get64(b, gpa);
}

u16 box_get16(struct box *b, gpa_t gpa)
{
	return box_get64(b, gpa);
}

void box_gdt(struct box *b, u16 selector, u64 descriptor)
{
	box_put64(b, 0x8000 + (selector & ~7u), descriptor);
}

static void flat(struct box *b, unsigned seg, u16 selector, u16 attr)
{
	const struct x86_segment s = { 0, 0xffffffff, selector, attr };

	seg_install(b->cpu, seg, &s);
}

static void data_segments(struct box *b, u16 selector, u16 attr)
{
	static const u8 all[] = { SEG_SS, SEG_DS, SEG_ES, SEG_FS, SEG_GS };

	for (unsigned i = 0; i < ARRAY_LEN(all); i++)
		flat(b, all[i], selector, attr);
}

/* What long and protected mode have in common. */
static void box_tables(struct box *b, u64 tss)
{
	struct cpu *cpu = b->cpu;

	memset(b->ram, 0, 0x10000);
	b->log_count = 0;
	cpu_reset(cpu, false);
	box_gdt(b, SEL_CODE64, 0x00af9b000000ffff);
	box_gdt(b, SEL_DATA, 0x00cf93000000ffff);
	box_gdt(b, SEL_CODE32, 0x00cf9b000000ffff);
	box_gdt(b, SEL_USER32, 0x00cffb000000ffff);
	box_gdt(b, SEL_UDATA, 0x00cff3000000ffff);
	box_gdt(b, SEL_USER64, 0x00affb000000ffff);
	box_gdt(b, SEL_TSS, tss);
	cpu->gdtr = (struct x86_table){ 0x8000, 0x7f };
	cpu->idtr = (struct x86_table){ 0x9000, 0xfff };
	cpu->seg[SEG_TR] = (struct x86_segment){ 0xa000, 0x67, SEL_TSS, 0x8b };
	cpu->gpr[RSP] = 0x20000;
	cpu->rip = 0x30000;
	data_segments(b, SEL_DATA, 0xc093);
}

void box_long_mode(struct box *b)
{
	struct cpu *cpu = b->cpu;

	box_tables(b, 0x00008b00a0000067);
	box_put64(b, 0x1000, 0x2007);
	box_put64(b, 0x2000, 0x3007);
	for (unsigned i = 0; i < 16; i++) /* 2 MiB pages, user, accessed, dirty */
		box_put64(b, 0x3000 + i * 8, i * 2 * MIB | 0xe7);
	cpu->cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
	cpu->cr3 = 0x1000;
	cpu->cr4 = CR4_PAE | CR4_OSFXSR | CR4_PGE;
	cpu->efer = EFER_LME | EFER_LMA | EFER_NXE | EFER_SCE;
	flat(b, SEG_CS, SEL_CODE64, 0xa09b);
	box_put64(b, 0xa004, 0x28000); /* RSP0 */
	tlb_flush_all(cpu);
	cpu_update_ctx(cpu);
}

void box_protected_mode(struct box *b)
{
	struct cpu *cpu = b->cpu;

	box_tables(b, 0x00008b00a0000067);
	cpu->cr0 = CR0_PE | CR0_ET | CR0_NE;
	flat(b, SEG_CS, SEL_CODE32, 0xc09b);
	box_put64(b, 0xa004, 0x28000 | (u64)SEL_DATA << 32); /* ESP0, SS0 */
	tlb_flush_all(cpu);
	cpu_update_ctx(cpu);
}

void box_real_mode(struct box *b)
{
	struct cpu *cpu = b->cpu;

	memset(b->ram, 0, 0x10000);
	b->log_count = 0;
	cpu_reset(cpu, false);
	cpu->idtr = (struct x86_table){ 0, 0x3ff };
	for (unsigned i = 0; i <= SEG_GS; i++)
		seg_install_real(cpu, i, 0);
	seg_install_real(cpu, SEG_SS, 0x1000);
	cpu->gpr[RSP] = 0x2000;
	cpu->rip = 0x7c00;
	cpu_update_ctx(cpu);
}

void box_two_pages(struct box *b, gpa_t second)
{
	box_long_mode(b);
	box_put64(b, 0x3008, 0x4007);
	box_put64(b, 0x4000, 0x300067);
	box_put64(b, 0x4008, second);
	tlb_flush_all(b->cpu);
}

void box_user(struct box *b)
{
	bool wide = cpu_long_mode(b->cpu);

	flat(b, SEG_CS, wide ? SEL_USER64 : SEL_USER32, wide ? 0xa0fb : 0xc0fb);
	data_segments(b, SEL_UDATA, 0xc0f3);
	b->cpu->cpl = 3;
	cpu_update_ctx(b->cpu);
}

void box_gate(struct box *b, unsigned vector, u16 selector, u64 offset, unsigned type, unsigned dpl,
	      unsigned ist)
{
	u64 low = (offset & 0xffff) | (u64)selector << 16 | (u64)ist << 32 |
		  (u64)(0x80 | dpl << 5 | type) << 40 | (offset >> 16 & 0xffff) << 48;

	if (cpu_long_mode(b->cpu)) {
		box_put64(b, 0x9000 + vector * 16, low);
		box_put64(b, 0x9000 + vector * 16 + 8, offset >> 32);
	} else {
		box_put64(b, 0x9000 + vector * 8, low);
	}
}

static unsigned parse(const char *hex, u8 *bytes)
{
	unsigned n = 0, value;
	int used;

	while (sscanf(hex, " %2x%n", &value, &used) == 1) {
		bytes[n++] = value;
		hex += used;
	}
	return n;
}

enum helper_result box_exec(struct box *b, const char *hex)
{
	struct cpu *cpu = b->cpu;
	enum helper_result result;
	struct insn insn;
	u8 bytes[16];
	int len;

	len = insn_decode(&b->vm->code->contract, cpu->ctx & CTX_MODE_MASK, bytes,
			  parse(hex, bytes), &insn);
	cpu->fault_pending = 0;
	if (len <= 0 || !insn.allowed) { /* as the translator does */
		fault(cpu, VEC_UD);
		return HELPER_FAULT;
	}
	result = helper_execute(cpu, &insn);
	g_assert_cmpint(cpu->fault_pending, ==, result == HELPER_FAULT);
	fpu_leave(cpu);
	if (result == HELPER_NEXT || result == HELPER_HALT)
		cpu->rip += len;
	return result;
}

void box_assert_fault(struct box *b, const char *hex, unsigned vector, s64 error)
{
	g_assert_cmpint(box_exec(b, hex), ==, HELPER_FAULT);
	g_assert_cmpuint(b->cpu->fault.vector, ==, vector);
	g_assert_cmpint(b->cpu->fault.has_error, ==, error >= 0);
	if (error >= 0)
		g_assert_cmphex(b->cpu->fault.error, ==, error);
	b->cpu->fault_pending = 0;
}

void box_assert_next(struct box *b, const char *hex)
{
	g_assert_cmpint(box_exec(b, hex), ==, HELPER_NEXT);
}
