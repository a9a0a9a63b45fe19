/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where on the host a guest runs and what its memory is: <vcpu cpuset>, <cputune>, <numatune> and
 * <memoryBacking>.
 *
 * A processor has the pins of its <vcpupin>, else <vcpu cpuset>, else none; all other threads those
 * of <emulatorpin>, else <vcpu cpuset>.
 */
#include "domain/placement.h"

#include "domain/message.h"
#include "domain/xml.h"

#include <stdlib.h>
#include <string.h>

#define HUGE_PAGE_MAX_KIB (16ull << 20) /* larger than any that there are */

/* --- is it sound? --- */

static bool validate_set(const struct domain *domain, const xmlNode *node, const char *attribute,
			 GError **error)
{
	const char *text = xml_attr(node, attribute);
	struct number_set set;

	return !text || number_set_parse(text, &set) ||
	       domain_fail(domain, error, DOMAIN_ERROR_VALUE, node,
			   "%s='%s' is not a set of numbers below %u, as in '0-3,^2,8'", attribute,
			   text, NUMBER_SET_MAX);
}

static bool need(const struct domain *domain, const xmlNode *node, const char *attribute,
		 GError **error)
{
	return xml_attr(node, attribute) || domain_fail(domain, error, DOMAIN_ERROR_VALUE, node,
							"%s is missing; add it", attribute);
}

static bool validate_pins(const struct domain *domain, const xmlNode *root, GError **error)
{
	const xmlNode *vcpu = xml_child(root, "vcpu"), *tune = xml_child(root, "cputune");
	unsigned count = vcpu ? strtoul(xml_text(vcpu), NULL, 10) : 1;
	g_autofree bool *pinned = g_new0(bool, count);

	xml_for_each(pin, tune, "vcpupin")
	{
		unsigned number;

		if (!need(domain, pin, "vcpu", error) || !need(domain, pin, "cpuset", error) ||
		    !validate_set(domain, pin, "cpuset", error))
			return false;
		number = strtoul(xml_attr(pin, "vcpu"), NULL, 0);
		if (number >= count) /* kept, as libvirt does: there may be more some day */
			continue;
		if (pinned[number])
			return domain_fail(domain, error, DOMAIN_ERROR_CONFLICT, pin,
					   "vcpu='%u' is there twice; remove one", number);
		pinned[number] = true;
	}
	return validate_set(domain, vcpu, "cpuset", error) &&
	       validate_set(domain, xml_child(tune, "emulatorpin"), "cpuset", error);
}

static u64 page_kib(const xmlNode *page)
{
	u64 bytes = 0;

	domain_size_bytes(xml_attr(page, "size"), xml_attr(page, "unit"), &bytes);
	return bytes / 1024;
}

static bool validate_pages(const struct domain *domain, const xmlNode *root, GError **error)
{
	xml_for_each(page, xml_find(root, "memoryBacking/hugepages"), "page")
	{
		u64 kib;

		if (!need(domain, page, "size", error))
			return false;
		kib = page_kib(page);
		if (kib < 8 || kib > HUGE_PAGE_MAX_KIB || kib & (kib - 1))
			return domain_fail(domain, error, DOMAIN_ERROR_VALUE, page,
					   "size='%s' is not that of a huge page; use 2 MiB or "
					   "1 GiB, or leave <page> out",
					   xml_attr(page, "size"));
	}
	return true;
}

bool domain_validate_placement(const struct domain *domain, const xmlNode *root, GError **error)
{
	return validate_pins(domain, root, error) && validate_pages(domain, root, error) &&
	       validate_set(domain, xml_find(root, "numatune/memory"), "nodeset", error);
}

/* --- reading --- */

/* Sound, or not there. */
static bool read_set(const xmlNode *node, const char *attribute, struct number_set *set)
{
	const char *text = xml_attr(node, attribute);

	return text && number_set_parse(text, set);
}

static void read_memory(struct domain_placement *p, const xmlNode *root)
{
	const xmlNode *pages = xml_find(root, "memoryBacking/hugepages");
	const xmlNode *memory = xml_find(root, "numatune/memory");
	const char *mode = xml_attr(memory, "mode");

	p->huge_pages = pages != NULL;
	p->huge_page_kib = xml_child(pages, "page") ? page_kib(xml_child(pages, "page")) : 0;
	p->allocated = xml_attr_is(xml_find(root, "memoryBacking/allocation"), "mode", "immediate");
	if (read_set(memory, "nodeset", &p->nodes))
		p->numa_mode = !mode || !strcmp(mode, "restrictive") ? "strict"
			       : !strcmp(mode, "preferred")          ? "preferred"
			       : !strcmp(mode, "interleave")         ? "interleave"
								     : "strict";
}

void domain_read_placement(struct domain *domain, const xmlNode *root)
{
	struct domain_placement *p = &domain->placement;
	const xmlNode *vcpu = xml_child(root, "vcpu"), *tune = xml_child(root, "cputune");
	struct number_set all = { { 0 } };

	*p = (struct domain_placement){ .vcpus = g_new0(struct number_set, domain->vcpus) };
	read_set(vcpu, "cpuset", &all);
	p->others = all;
	read_set(xml_child(tune, "emulatorpin"), "cpuset", &p->others);
	for (unsigned i = 0; i < domain->vcpus; i++)
		p->vcpus[i] = all;
	xml_for_each(pin, tune, "vcpupin")
	{
		unsigned number = strtoul(xml_attr(pin, "vcpu"), NULL, 0);

		if (number < domain->vcpus)
			read_set(pin, "cpuset", &p->vcpus[number]);
	}
	read_memory(p, root);
}
