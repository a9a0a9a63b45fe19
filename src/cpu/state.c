/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A processor's state as a whole: reset, taking it out, putting it in; and the memory it sees.
 *
 * Reset values: APM vol. 2 table 14-1. INIT keeps the vector state, the MSRs and the TSC.
 */
#include "cpu/code.h"
#include "cpu/run.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static const struct x86_segment reset_data = { 0, 0xffff, 0, 0x0093 };

static void reset_msrs(struct cpu *cpu)
{
	memset(&cpu->msr, 0, sizeof(cpu->msr));
	cpu->msr.pat = 0x0007040600070406;
	cpu->msr.misc_enable = 1;
	cpu->msr.mcg_ctl = ~0ull;
	for (unsigned i = 0; i < ARRAY_LEN(cpu->msr.mc_bank); i++)
		cpu->msr.mc_bank[i][0] = ~0ull;
	cpu->tsc_offset = -(s64)cpu->vm->tsc_base;
}

static void reset_fpu(struct cpu *cpu)
{
	memset(cpu->xsave, 0, sizeof(cpu->xsave));
	*(u16 *)cpu->xsave = 0x40; /* power-on: FCW 0040, unlike FNINIT's 037F */
	*(u32 *)(cpu->xsave + 24) = 0x1f80;
	*(u64 *)(cpu->xsave + 512) = 1;
	cpu->fpu_loaded = 0;
	cpu->xcr0 = 1;
}

void cpu_reset(struct cpu *cpu, bool init)
{
	u32 id[4];

	memset(cpu->gpr, 0, sizeof(cpu->gpr));
	cpuid_query(cpu, 1, 0, id);
	cpu->gpr[RDX] = id[0];
	cpu->rip = 0xfff0;
	cpu->rflags = 2;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		cpu->seg[i] = reset_data;
	cpu->seg[SEG_CS] = (struct x86_segment){ 0xffff0000, 0xffff, 0xf000, 0x009b };
	cpu->seg[SEG_LDT].attr = 0x0082;
	cpu->seg[SEG_TR].attr = 0x008b;
	seg_set_base(cpu, SEG_FS, 0);
	seg_set_base(cpu, SEG_GS, 0);
	cpu->gdtr = cpu->idtr = (struct x86_table){ 0, 0xffff };
	cpu->cr0 = CR0_ET | (init ? cpu->cr0 & (CR0_CD | CR0_NW) : CR0_CD | CR0_NW);
	cpu->cr2 = cpu->cr3 = cpu->cr4 = 0;
	cpu->efer = 0;
	cpu->cpl = 0;
	memset(cpu->dr, 0, sizeof(cpu->dr));
	cpu->dr[6] = 0xffff0ff0;
	cpu->dr[7] = 0x400;
	cpu->intr_shadow = cpu->nmi_masked = 0;
	cpu->fault_pending = 0;
	cpu->bounce.size = cpu->bounce.direct = 0;
	if (!init) {
		reset_msrs(cpu);
		reset_fpu(cpu);
	}
	cpu->activity = cpu->index ? X86_WAIT_SIPI : X86_RUNNING;
	tlb_flush_all(cpu);
	cpu_update_ctx(cpu);
}

void cpu_get_state(struct cpu *cpu, struct x86_state *s)
{
	fpu_leave(cpu);
	memset(s, 0, sizeof(*s));
	memcpy(s->gpr, cpu->gpr, sizeof(s->gpr));
	s->rip = cpu->rip;
	s->rflags = cpu->rflags;
	memcpy(s->seg, cpu->seg, sizeof(s->seg));
	s->gdtr = cpu->gdtr;
	s->idtr = cpu->idtr;
	s->cr0 = cpu->cr0;
	s->cr2 = cpu->cr2;
	s->cr3 = cpu->cr3;
	s->cr4 = cpu->cr4;
	s->cr8 = cpu->vm->config.bus.cr8(cpu->vm->config.bus.opaque, cpu->index, 0, false);
	s->efer = cpu->efer;
	s->xcr0 = cpu->xcr0;
	memcpy(s->dr, cpu->dr, sizeof(s->dr));
	s->tsc = cpu_tsc(cpu);
	s->msr = cpu->msr;
	s->activity = cpu->activity;
	s->intr_shadow = cpu->intr_shadow;
	s->nmi_masked = cpu->nmi_masked;
	s->nmi_pending = !!(__atomic_load_n(&cpu->requests, __ATOMIC_SEQ_CST) & CPU_REQ_NMI);
	s->init_pending = !!(__atomic_load_n(&cpu->requests, __ATOMIC_SEQ_CST) & CPU_REQ_INIT);
	s->sipi_pending = !!(__atomic_load_n(&cpu->requests, __ATOMIC_SEQ_CST) & CPU_REQ_SIPI);
	s->sipi_vector = cpu->sipi_vector;
	memcpy(s->xsave, cpu->xsave, sizeof(s->xsave));
	/* only of a processor that has not run yet */
	s->event_pending = cpu->fault_pending || cpu->fault.soft;
	s->event_soft = cpu->fault.soft;
	s->event_vector = cpu->fault.vector;
	s->event_has_error = cpu->fault.has_error;
	s->event_error = cpu->fault.error;
}

static bool state_possible(const struct cpu *cpu, const struct x86_state *s)
{
	u32 mxcsr;

	memcpy(&mxcsr, s->xsave + 24, 4);
	if (s->cr0 & CR0_PG && !(s->cr0 & CR0_PE))
		return false;
	if (s->efer & EFER_LMA && !(s->cr4 & CR4_PAE))
		return false;
	if (!!(s->efer & EFER_LMA) != (s->efer & EFER_LME && s->cr0 & CR0_PG))
		return false;
	if (s->xcr0 & ~(cpu->vm->xcr0_mask | 1) || !(s->xcr0 & 1))
		return false;
	return s->activity <= X86_SHUTDOWN && !(mxcsr & ~cpu->vm->mxcsr_mask);
}

/* Fields that XRSTOR would refuse, whoever wrote the saved state. */
static void sanitize_xsave(struct cpu *cpu)
{
	u64 *header = (u64 *)(cpu->xsave + 512);

	header[0] &= cpu->vm->xcr0_mask ? cpu->vm->xcr0_mask : 3;
	memset(header + 1, 0, 56);
	memset(cpu->xsave + 464, 0, 48);
}

/* An event that another engine was about to deliver; cpu_run() begins with it. A software interrupt
 * needs nothing here, as RIP is still at its instruction, but is kept for an engine that wants it.
 */
static void set_event(struct cpu *cpu, const struct x86_state *s)
{
	cpu->fault =
		(struct fault){ .vector = s->event_vector,
				.has_error = s->event_has_error,
				.soft = s->event_pending && s->event_soft,
				.external = s->event_vector == VEC_NMI || s->event_vector >= 32,
				.error = s->event_error,
				.cr2 = s->cr2 };
	cpu->fault_pending = s->event_pending && !s->event_soft;
}

int cpu_set_state(struct cpu *cpu, const struct x86_state *s)
{
	if (!state_possible(cpu, s))
		return -EINVAL;
	cpu->fpu_loaded = 0;
	memcpy(cpu->gpr, s->gpr, sizeof(cpu->gpr));
	cpu->rip = s->rip;
	cpu->rflags = (s->rflags & 0x3f7fd5) | 2;
	memcpy(cpu->seg, s->seg, sizeof(cpu->seg));
	seg_set_base(cpu, SEG_FS, s->seg[SEG_FS].base);
	seg_set_base(cpu, SEG_GS, s->seg[SEG_GS].base);
	cpu->gdtr = s->gdtr;
	cpu->idtr = s->idtr;
	cpu->cr0 = s->cr0 | CR0_ET;
	cpu->cr2 = s->cr2;
	cpu->cr3 = s->cr3;
	cpu->cr4 = s->cr4;
	cpu->efer = s->efer;
	cpu->xcr0 = s->xcr0;
	memcpy(cpu->dr, s->dr, sizeof(cpu->dr));
	cpu->msr = s->msr;
	cpu->activity = s->activity;
	cpu->intr_shadow = s->intr_shadow;
	cpu->nmi_masked = s->nmi_masked;
	if (s->nmi_pending)
		cpu_request(cpu, CPU_REQ_NMI);
	cpu_set_sipi_vector(cpu, s->sipi_vector);
	cpu_request(cpu,
		    (s->init_pending ? CPU_REQ_INIT : 0) | (s->sipi_pending ? CPU_REQ_SIPI : 0));
	memcpy(cpu->xsave, s->xsave, sizeof(cpu->xsave));
	sanitize_xsave(cpu);
	cpu->cpl = s->cr0 & CR0_PE ? SEG_ATTR_DPL(s->seg[SEG_SS].attr) : 0;
	set_event(cpu, s);
	cpu->bounce.size = cpu->bounce.direct = 0;
	cpu->tsc_offset = s->tsc - __builtin_ia32_rdtsc();
	if (s->cr0 & CR0_PG && s->cr4 & CR4_PAE && !(s->efer & EFER_LMA))
		mmu_load_pdptes(cpu);
	tlb_flush_all(cpu);
	cpu_update_ctx(cpu);
	return 0;
}

/* Translations of pages that go away: other memory may appear at the same addresses. */
static void forget_code(struct cpu_vm *vm, const struct ram_slot *s)
{
	for (u64 page = 0; page < s->bytes >> PAGE_SHIFT; page++)
		if (s->info[page] & PAGE_HAS_CODE)
			code_written(vm, s->gpa + (page << PAGE_SHIFT), PAGE_SIZE);
}

/* Translations of what was fetched where there was no memory until now. */
static void forget_open_bus(struct cpu_vm *vm, gpa_t gpa, u64 bytes)
{
	if (!vm->code->block_count)
		return;
	for (u64 at = 0; at < bytes; at += PAGE_SIZE)
		code_written(vm, gpa + at, PAGE_SIZE);
}

int cpu_vm_set_slot(struct cpu_vm *vm, unsigned slot, gpa_t gpa, u64 bytes, void *hva, u32 flags)
{
	struct ram_slot *s;
	u32 *info = NULL;

	if (slot >= CPU_SLOTS || (gpa | bytes | (uintptr_t)hva) & ~PAGE_MASK || gpa + bytes < gpa)
		return -EINVAL;
	s = &vm->slots[slot];
	for (unsigned i = 0; i < CPU_SLOTS; i++) {
		const struct ram_slot *o = &vm->slots[i];

		if (i != slot && bytes && o->bytes && gpa < o->gpa + o->bytes &&
		    o->gpa < gpa + bytes)
			return -EEXIST;
	}
	if (bytes) {
		info = mmap(NULL, (bytes >> PAGE_SHIFT) * sizeof(u32), PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (info == MAP_FAILED)
			return -ENOMEM;
	}
	g_free(s->dirty);
	if (s->info) {
		forget_code(vm, s);
		munmap(s->info, (s->bytes >> PAGE_SHIFT) * sizeof(u32));
	}
	*s = (struct ram_slot){
		.gpa = gpa, .bytes = bytes, .hva = hva, .flags = flags, .info = info
	};
	if (vm->logging)
		s->dirty = g_new0(u64, dirty_words(s));
	vm->slot_count = 0;
	for (unsigned i = 0; i < CPU_SLOTS; i++)
		if (vm->slots[i].bytes)
			vm->slot_count = i + 1;
	forget_open_bus(vm, gpa, bytes);
	for (unsigned i = 0; i < vm->config.cpus; i++)
		if (vm->cpus[i])
			tlb_flush_all(vm->cpus[i]);
	return 0;
}
