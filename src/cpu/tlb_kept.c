/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the TLB has forgotten at a switch to another address space and may still be used when the
 * guest comes back: small pages that are not global, each kept for the PCID it was found under
 * (SDM vol. 3, 4.10.1). A miss asks here before it walks the guest's tables.
 *
 * A PCID's pages are good for as long as it has the same key. Whoever must forget them all takes
 * the key away and looks at no page; keys are never used twice. Write tags have a second condition:
 * no page of this processor's has lost its tag since.
 *
 * Hot: runs with the guest's floating-point state live.
 */
#include "cpu/bytes.h"
#include "cpu/vcpu.h"

static struct kept_page *place(struct tlb_kept *kept, gva_t gva, enum tlb_kind kind)
{
	/* the three kinds' pages, and those of programs linked to the same address, lie apart */
	u64 n = (gva >> PAGE_SHIFT) + kind * (KEPT_PAGES / 3) + kept->key * 1021ull;

	return &kept->pages[n % KEPT_PAGES];
}

static bool is_of(const struct tlb_kept *kept, const struct kept_page *p, gva_t gva,
		  enum tlb_kind kind)
{
	return kept->key && p->key == kept->key && p->kind == kind && p->page == (gva & PAGE_MASK);
}

static unsigned pcid_now(const struct cpu *cpu)
{
	return cpu->cr3 & 0xfff;
}

/* Without PCIDs every switch forgets all, so there is nothing to keep. */
static void new_key(struct cpu *cpu)
{
	struct tlb_kept *kept = &cpu->kept;
	unsigned pcid = pcid_now(cpu);

	kept->key = 0;
	if (!(cpu->cr4 & CR4_PCIDE))
		return;
	if (!++kept->last) {
		clear_bytes(kept, sizeof(*kept));
		kept->last = 1;
	}
	kept->key = kept->last;
	kept->pcids[pcid % KEPT_PCIDS].pcid = pcid;
	kept->pcids[pcid % KEPT_PCIDS].key = kept->key;
}

void tlb_kept_forget(struct cpu *cpu)
{
	for (unsigned i = 0; i < KEPT_PCIDS; i++)
		cpu->kept.pcids[i].key = 0;
	new_key(cpu);
}

void tlb_kept_forget_pcid(struct cpu *cpu, unsigned pcid)
{
	struct kept_pcid *p = &cpu->kept.pcids[pcid % KEPT_PCIDS];

	if (pcid == pcid_now(cpu))
		new_key(cpu);
	else if (p->pcid == pcid)
		p->key = 0;
}

void tlb_kept_forget_page(struct cpu *cpu, gva_t gva)
{
	for (unsigned kind = 0; kind < TLB_KINDS; kind++) {
		struct kept_page *p = place(&cpu->kept, gva, kind);

		if (is_of(&cpu->kept, p, gva, kind))
			p->key = 0;
	}
}

void tlb_kept_forget_writes(struct cpu *cpu)
{
	struct tlb_kept *kept = &cpu->kept;

	if (++kept->writes)
		return;
	tlb_kept_forget(cpu); /* numbers begin anew: no page may have one of before */
}

void tlb_kept_switch(struct cpu *cpu, bool keep)
{
	const struct kept_pcid *p = &cpu->kept.pcids[pcid_now(cpu) % KEPT_PCIDS];

	if (keep && (cpu->cr4 & CR4_PCIDE) && p->pcid == pcid_now(cpu) && p->key)
		cpu->kept.key = p->key;
	else
		new_key(cpu);
}

void tlb_keep(struct cpu *cpu, enum tlb_kind kind, gva_t gva, const struct tlb_entry *e)
{
	struct tlb_kept *kept = &cpu->kept;
	gva_t page = gva & PAGE_MASK;
	struct kept_page *p;

	if (!kept->key)
		return;
	p = place(kept, gva, kind);
	p->page = page;
	p->host = e->host;
	p->key = kept->key;
	p->writes = kept->writes;
	p->kind = kind;
	p->rights = (e->read_tag == page ? ACCESS_R : 0) | (e->write_tag == page ? ACCESS_W : 0) |
		    (e->exec_tag == page ? ACCESS_X : 0);
}

struct tlb_entry *tlb_take_kept(struct cpu *cpu, struct tlb *tlb, gva_t gva, unsigned access)
{
	struct tlb_kept *kept = &cpu->kept;
	enum tlb_kind kind = tlb - cpu->tlb;
	const struct kept_page *p = place(kept, gva, kind);
	u64 none = TLB_INVALID(tlb_index(tlb, gva));
	struct tlb_entry e;
	unsigned rights;

	if (!is_of(kept, p, gva, kind))
		return NULL;
	rights = p->rights & (p->writes == kept->writes ? ~0u : ~ACCESS_W);
	access &= ACCESS_R | ACCESS_W | ACCESS_X;
	if ((rights & access) != access)
		return NULL;
	e.host = p->host;
	e.read_tag = rights & ACCESS_R ? p->page : none;
	e.write_tag = rights & ACCESS_W ? p->page : none;
	e.exec_tag = rights & ACCESS_X ? p->page : none;
	return tlb_insert(tlb, gva, &e, PAGE_SHIFT, false);
}
