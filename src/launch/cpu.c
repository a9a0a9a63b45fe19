/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From the domain's <cpu> to the features that are hidden from the guest.
 *
 * A plan only takes features away: the engine offers all it can. A named model is therefore the
 * list of optional features it has (cpu_model.c), all other optional ones being hidden.
 */
#include "base/cpu_names.h"
#include "launch/cpu_model.h"
#include "launch/private.h"

#include <string.h>

/* What KVM gives besides, where the host has it: no named model has any. */
static const char *const hardware[] = { CPU_HARDWARE_ONLY };

static void fail_model(const struct domain *domain, GError **error)
{
	GString *known = g_string_new(NULL);

	for (unsigned i = 0; cpu_model_at(i); i++)
		g_string_append_printf(known, "%s%s", i ? ", " : "",
				       cpu_model_name(cpu_model_at(i)));
	g_set_error(
		error, DOMAIN_ERROR, DOMAIN_ERROR_UNSUPPORTED,
		"%s:%u: <cpu>: the model '%s' is not in this version; use mode='host-passthrough' "
		"or one of %s",
		domain->file, domain->cpu.line, domain->cpu.model, known->str);
	g_string_free(known, TRUE);
}

static bool contains(GPtrArray *names, const char *name)
{
	return g_ptr_array_find_with_equal_func(names, name, g_str_equal, NULL);
}

static void hide(GPtrArray *off, const char *name)
{
	if (!contains(off, name))
		g_ptr_array_add(off, g_strdup(name));
}

/* --- the domain's wishes --- */

/* Linux's names of a list of libvirt's. */
static GPtrArray *translate(GPtrArray *names)
{
	GPtrArray *result = g_ptr_array_new_with_free_func(g_free);

	for (unsigned i = 0; i < names->len; i++)
		g_ptr_array_add(result, cpu_feature_linux_name(names->pdata[i]));
	return result;
}

static bool check_required(const struct domain *domain, GPtrArray *required, GError **error)
{
	for (unsigned i = 0; i < required->len; i++) {
		if (cpu_feature_is_offered(required->pdata[i]))
			continue;
		g_set_error(error, DOMAIN_ERROR, DOMAIN_ERROR_UNSUPPORTED,
			    "%s:%u: <cpu>: the feature '%s' is not in this version; remove it, or "
			    "make its policy 'optional'",
			    domain->file, domain->cpu.line, (char *)domain->cpu.require->pdata[i]);
		return false;
	}
	return true;
}

static bool hide_beyond_model(const struct domain *domain, GPtrArray *off, GPtrArray *required,
			      GError **error)
{
	const char *const *optional = cpu_features_optional();
	const struct cpu_model *model = cpu_model_find(domain->cpu.model);

	if (!model) {
		fail_model(domain, error);
		return false;
	}
	for (; *optional; optional++)
		if (!cpu_model_has(model, *optional) && !contains(required, *optional))
			hide(off, *optional);
	return true;
}

void cpu_hide_hardware(const struct domain *domain, GPtrArray *off)
{
	if (!domain->cpu.mode || strcmp(domain->cpu.mode, "custom"))
		return;
	for (size_t i = 0; i < ARRAY_LEN(hardware); i++)
		hide(off, hardware[i]);
}

GPtrArray *cpu_features_off(const struct domain *domain, GError **error)
{
	GPtrArray *off = g_ptr_array_new_with_free_func(g_free);
	GPtrArray *required = translate(domain->cpu.require);
	GPtrArray *disabled = translate(domain->cpu.disable);
	bool good = check_required(domain, required, error);

	if (good && domain->cpu.mode && !strcmp(domain->cpu.mode, "custom"))
		good = hide_beyond_model(domain, off, required, error);
	/* what is not offered needs no hiding */
	for (unsigned i = 0; i < disabled->len; i++)
		if (cpu_feature_is_offered(disabled->pdata[i]))
			hide(off, disabled->pdata[i]);
	g_ptr_array_unref(disabled);
	g_ptr_array_unref(required);
	if (!good)
		g_clear_pointer(&off, g_ptr_array_unref);
	return off;
}

GPtrArray *cpu_features_required(const struct domain *domain)
{
	return translate(domain->cpu.require);
}
