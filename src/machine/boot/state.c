/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Register and page-table setup for direct boot. See boot/state.h.
 */
#include "machine/boot/state.h"

#include "cpu/arch.h"
#include "machine/vm.h"

#include <errno.h>
#include <glib.h>

#define SELECTOR_CS 0x10 /* as the boot protocol wants */
#define SELECTOR_DS 0x18
#define SELECTOR_TR 0x20

#define ATTR_CODE64 (SEG_ATTR_P | SEG_ATTR_S | SEG_ATTR_L | SEG_ATTR_G | 0xb)
#define ATTR_CODE32 (SEG_ATTR_P | SEG_ATTR_S | SEG_ATTR_DB | SEG_ATTR_G | 0xb)
#define ATTR_DATA   (SEG_ATTR_P | SEG_ATTR_S | SEG_ATTR_DB | SEG_ATTR_G | 0x3)
#define ATTR_TSS    (SEG_ATTR_P | 0xb)

static u64 descriptor(u16 attr, u32 limit)
{
	u32 raw = attr & SEG_ATTR_G ? limit >> 12 : limit;

	return (u64)attr << 40 | (raw & 0xffff) | (u64)(raw & 0xf0000) << 32;
}

static int write_gdt(struct vm *vm, u16 code_attr)
{
	const u64 gdt[6] = {
		0,
		0,
		descriptor(code_attr, UINT32_MAX),
		descriptor(ATTR_DATA, UINT32_MAX),
		descriptor(ATTR_TSS, 0x67),
		0,
	};

	return vm_mem_write(vm, BOOT_GDT, gdt, sizeof(gdt));
}

/* PML4, PDPT and four page directories of 2 MiB pages. */
static int write_page_tables(struct vm *vm)
{
	u64 table[512] = { (BOOT_PAGE_TABLES + PAGE_SIZE) | 3 };
	int err = vm_mem_write(vm, BOOT_PAGE_TABLES, table, sizeof(table));

	for (unsigned i = 0; i < 512; i++)
		table[i] = i < 4 ? (BOOT_PAGE_TABLES + (2 + i) * PAGE_SIZE) | 3 : 0;
	if (!err)
		err = vm_mem_write(vm, BOOT_PAGE_TABLES + PAGE_SIZE, table, sizeof(table));
	for (unsigned pd = 0; pd < 4 && !err; pd++) {
		for (unsigned i = 0; i < 512; i++)
			table[i] = (u64)(pd * 512 + i) << 21 | 0x83;
		err = vm_mem_write(vm, BOOT_PAGE_TABLES + (2 + pd) * PAGE_SIZE, table,
				   sizeof(table));
	}
	return err;
}

static void set_segments(struct x86_state *s, u16 code_attr)
{
	static const enum x86_seg data[] = { SEG_ES, SEG_SS, SEG_DS, SEG_FS, SEG_GS };

	s->seg[SEG_CS] = (struct x86_segment){ 0, UINT32_MAX, SELECTOR_CS, code_attr };
	for (unsigned i = 0; i < ARRAY_LEN(data); i++)
		s->seg[data[i]] = (struct x86_segment){ 0, UINT32_MAX, SELECTOR_DS, ATTR_DATA };
	s->seg[SEG_TR] = (struct x86_segment){ 0, 0x67, SELECTOR_TR, ATTR_TSS };
	s->seg[SEG_LDT] = (struct x86_segment){ 0 };
	s->gdtr = (struct x86_table){ BOOT_GDT, 6 * 8 - 1 };
	s->idtr = (struct x86_table){ 0, 0 };
	s->rflags = BIT(1);
	s->activity = X86_RUNNING;
	for (unsigned i = 0; i < 16; i++)
		s->gpr[i] = 0;
}

static int set_state(struct vm *vm, struct x86_state *s)
{
	int err = vcpu_set_state(vm->vcpus[0], s, 0);

	g_free(s);
	return err;
}

/* Everything that is not set below keeps its reset value. */
static struct x86_state *reset_state(struct vm *vm)
{
	struct x86_state *s = g_new0(struct x86_state, 1);

	vcpu_get_state(vm->vcpus[0], s, 0);
	return s;
}

int boot_enter_long_mode(struct vm *vm, u64 rip, u64 rsi)
{
	struct x86_state *s = reset_state(vm);

	set_segments(s, ATTR_CODE64);
	s->rip = rip;
	s->gpr[RSI] = rsi;
	s->cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_PG;
	s->cr3 = BOOT_PAGE_TABLES;
	s->cr4 = CR4_PAE;
	s->efer = EFER_LME | EFER_LMA;
	if (write_gdt(vm, ATTR_CODE64) || write_page_tables(vm)) {
		g_free(s);
		return -EFAULT;
	}
	return set_state(vm, s);
}

int boot_enter_pvh(struct vm *vm, u32 eip, u32 ebx)
{
	struct x86_state *s = reset_state(vm);

	set_segments(s, ATTR_CODE32);
	s->rip = eip;
	s->gpr[RBX] = ebx;
	s->cr0 = CR0_PE | CR0_ET;
	s->cr3 = s->cr4 = 0;
	s->efer = 0;
	if (write_gdt(vm, ATTR_CODE32)) {
		g_free(s);
		return -EFAULT;
	}
	return set_state(vm, s);
}
