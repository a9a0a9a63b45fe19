/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is known of a processor that ends badly, for the log: its registers and its last exits.
 *
 * Each exit to us leaves a few words in a ring, which nobody reads but here. Registers of a triple
 * fault are there on Intel's processors alone: on AMD's KVM has put the processor's INIT state in
 * their place by the time that it tells. A guest may fault so again and again, so one report has to
 * do for each machine.
 */
#include "accel/kvm.h"
#include "base/log.h"

#define LINE 160

void kvm_note_exit(struct kvm_cpu *cpu)
{
	struct kvm_last *last = &cpu->last[cpu->last_count++ % KVM_LAST];
	const struct kvm_run *run = cpu->run;

	*last = (struct kvm_last){ .ticks = __builtin_ia32_rdtsc(), .reason = run->exit_reason };
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		last->write = run->io.direction == KVM_EXIT_IO_OUT;
		last->size = run->io.size;
		last->where = run->io.port;
		break;
	case KVM_EXIT_MMIO:
		last->write = run->mmio.is_write;
		last->size = run->mmio.len;
		last->where = run->mmio.phys_addr;
		break;
	case KVM_EXIT_IOAPIC_EOI: last->where = run->eoi.vector; break;
	case KVM_EXIT_X86_RDMSR:
	case KVM_EXIT_X86_WRMSR: last->where = run->msr.index; break;
	default: break;
	}
}

static const char *reason_name(u32 reason)
{
	switch (reason) {
	case KVM_EXIT_IO: return "port";
	case KVM_EXIT_MMIO: return "memory";
	case KVM_EXIT_IOAPIC_EOI: return "end of interrupt";
	case KVM_EXIT_IRQ_WINDOW_OPEN: return "interrupt window";
	case KVM_EXIT_X86_RDMSR: return "read of MSR";
	case KVM_EXIT_X86_WRMSR: return "write of MSR";
	case KVM_EXIT_INTR: return "signal";
	case KVM_EXIT_SHUTDOWN: return "triple fault";
	default: return "reason";
	}
}

static void report_exits(const struct kvm_cpu *cpu)
{
	u64 first = cpu->last_count > KVM_LAST ? cpu->last_count - KVM_LAST : 0;
	u64 now = __builtin_ia32_rdtsc(), khz = MAX(cpu->vm->tsc_hz / 1000, 1);

	for (u64 i = first; i < cpu->last_count; i++) {
		const struct kvm_last *last = &cpu->last[i % KVM_LAST];
		char line[LINE];
		int n = g_snprintf(line, sizeof(line), "%s %u", reason_name(last->reason),
				   last->reason);

		if (last->size)
			g_snprintf(line + n, sizeof(line) - n, ", %s %u bytes at 0x%llx",
				   last->write ? "write" : "read", last->size,
				   (unsigned long long)last->where);
		else if (last->where)
			g_snprintf(line + n, sizeof(line) - n, ", 0x%llx",
				   (unsigned long long)last->where);
		log_warning("kvm", "vCPU %u: exit %llu us ago: %s", cpu->index,
			    (unsigned long long)((now - last->ticks) * 1000 / khz), line);
	}
}

static void report_registers(const struct kvm_cpu *cpu, const struct x86_state *s)
{
	static const char names[][4] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					 "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15" };

	log_warning("kvm",
		    "vCPU %u: rip 0x%llx rflags 0x%llx cr0 0x%llx cr2 0x%llx cr3 0x%llx cr4 0x%llx "
		    "efer 0x%llx",
		    cpu->index, (unsigned long long)s->rip, (unsigned long long)s->rflags,
		    (unsigned long long)s->cr0, (unsigned long long)s->cr2,
		    (unsigned long long)s->cr3, (unsigned long long)s->cr4,
		    (unsigned long long)s->efer);
	for (unsigned i = 0; i < 16; i += 4)
		log_warning("kvm", "vCPU %u: %s 0x%llx %s 0x%llx %s 0x%llx %s 0x%llx", cpu->index,
			    names[i], (unsigned long long)s->gpr[i], names[i + 1],
			    (unsigned long long)s->gpr[i + 1], names[i + 2],
			    (unsigned long long)s->gpr[i + 2], names[i + 3],
			    (unsigned long long)s->gpr[i + 3]);
	log_warning("kvm", "vCPU %u: cs 0x%x %llx ss 0x%x tr 0x%x %llx gdt %llx idt %llx",
		    cpu->index, s->seg[SEG_CS].selector, (unsigned long long)s->seg[SEG_CS].base,
		    s->seg[SEG_SS].selector, s->seg[SEG_TR].selector,
		    (unsigned long long)s->seg[SEG_TR].base, (unsigned long long)s->gdtr.base,
		    (unsigned long long)s->idtr.base);
}

static bool is_init_state(const struct x86_state *s)
{
	return s->rip == 0xfff0 && s->seg[SEG_CS].base == 0xffff0000;
}

void kvm_report(struct kvm_cpu *cpu)
{
	struct x86_state *s;

	if (__atomic_exchange_n(&cpu->vm->reported, true, __ATOMIC_RELAXED))
		return;
	s = g_new(struct x86_state, 1);
	kvm_get_state((struct accel_vcpu *)cpu, s);
	if (is_init_state(s))
		log_warning("kvm", "vCPU %u: KVM does not tell what its registers were",
			    cpu->index);
	else
		report_registers(cpu, s);
	report_exits(cpu);
	g_free(s);
}
