/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Calls that compare processors: would a guest with that <cpu> run here, and what <cpu> runs on all
 * of these hosts? Both are questions about sets of features (launch/processor.h).
 */
#include "daemon/calls.h"
#include "daemon/cpu.h"

#include "base/log.h"
#include "domain/xml.h"

#include <string.h>

const struct processor *cpu_of_host(struct daemon *daemon)
{
	g_autoptr(GError) error = NULL;

	if (daemon->processor)
		return daemon->processor;
	daemon->processor = processor_of_host(daemon->vmm_path, &error);
	if (!daemon->processor) {
		log_warning("lodged", "this host's processor is not known: %s", error->message);
		daemon->processor = processor_new(NULL);
	}
	return daemon->processor;
}

/* --- to XML --- */

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void add_features(GString *text, const struct processor *processor,
			 const struct cpu_model *model, const char *indent, bool policy)
{
	guint count;
	g_autofree char **names =
		(char **)g_hash_table_get_keys_as_array(processor->features, &count);

	qsort(names, count, sizeof(*names), by_name);
	for (guint i = 0; i < count; i++)
		if (!cpu_model_has(model, names[i]) &&
		    g_strv_contains(cpu_features_optional(), names[i]))
			g_string_append_printf(text, "%s<feature %sname='%s'/>\n", indent,
					       policy ? "policy='require' " : "",
					       cpu_feature_libvirt_name(names[i]));
}

static char *elements(const struct processor *processor, const char *indent, bool policy,
		      bool expand)
{
	const struct cpu_model *model = processor_best_model(processor);
	GString *text = g_string_new(NULL);

	g_string_append_printf(text, "%s<model%s>%s</model>\n", indent,
			       policy ? " fallback='forbid'" : "", cpu_model_name(model));
	if (processor->vendor)
		g_string_append_printf(text, "%s<vendor>%s</vendor>\n", indent, processor->vendor);
	if (expand)
		for (const char *const *name = cpu_features_optional(); *name; name++)
			if (cpu_model_has(model, *name))
				g_string_append_printf(text, "%s<feature %sname='%s'/>\n", indent,
						       policy ? "policy='require' " : "",
						       cpu_feature_libvirt_name(*name));
	add_features(text, processor, model, indent, policy);
	return g_string_free(text, FALSE);
}

char *cpu_elements(const struct processor *processor, const char *indent, bool policy)
{
	return elements(processor, indent, policy, false);
}

char *cpu_models(const struct processor *host, const char *indent)
{
	const struct cpu_model *model;
	GString *text = g_string_new(NULL);

	for (unsigned i = 0; (model = cpu_model_at(i)); i++) {
		const char *vendor = cpu_model_vendor(model);

		g_string_append_printf(text, "%s<model usable='%s' vendor='%s'>%s</model>\n",
				       indent, processor_covers(host, model) ? "yes" : "no",
				       vendor ? vendor : "unknown", cpu_model_name(model));
	}
	return g_string_free(text, FALSE);
}

/* --- from XML --- */

/* Every guest has these, whatever its model. */
static void add_common(struct processor *processor, const struct processor *host)
{
	GHashTableIter iter;
	gpointer name;

	g_hash_table_iter_init(&iter, host->features);
	while (g_hash_table_iter_next(&iter, &name, NULL))
		if (!g_strv_contains(cpu_features_optional(), name))
			processor_add(processor, name);
}

static void add_all(struct processor *processor, const struct processor *host)
{
	GHashTableIter iter;
	gpointer name;

	g_hash_table_iter_init(&iter, host->features);
	while (g_hash_table_iter_next(&iter, &name, NULL))
		processor_add(processor, name);
}

/* Those that no guest can have are kept apart, for messages. */
static void read_features(struct processor *processor, const xmlNode *cpu, GPtrArray *unknown)
{
	xml_for_each(feature, cpu, "feature")
	{
		const char *name = xml_attr(feature, "name"), *policy = xml_attr(feature, "policy");
		g_autofree char *linux_name = name ? cpu_feature_linux_name(name) : NULL;

		if (!name)
			continue;
		if (policy && (!strcmp(policy, "disable") || !strcmp(policy, "forbid")))
			processor_remove(processor, name);
		else if (policy && !strcmp(policy, "optional"))
			continue;
		else if (cpu_feature_is_offered(linux_name))
			processor_add(processor, name);
		else
			g_ptr_array_add(unknown, g_strdup(name));
	}
}

static const char *vendor_in(const xmlNode *cpu)
{
	const char *vendor = xml_text(xml_child(cpu, "vendor"));

	if (!vendor)
		return NULL;
	return !strcmp(vendor, CPU_VENDOR_AMD)     ? CPU_VENDOR_AMD
	       : !strcmp(vendor, CPU_VENDOR_INTEL) ? CPU_VENDOR_INTEL
						   : NULL;
}

/* A <cpu>, or the one in a <domain> or in a host's <capabilities>. */
static const xmlNode *find_cpu(const xmlNode *root)
{
	g_autofree char *name = xml_name(root);

	if (!strcmp(name, "cpu"))
		return root;
	return !strcmp(name, "domain")         ? xml_child(root, "cpu")
	       : !strcmp(name, "capabilities") ? xml_find(root, "host/cpu")
					       : NULL;
}

/* What @text asks for. @unknown gets char *: what no guest can have. NULL with @error set. */
static struct processor *read_processor(const char *text, const struct processor *host,
					GPtrArray *unknown, GError **error)
{
	xmlDoc *doc = xml_read(text, strlen(text), "<cpu>", error);
	const xmlNode *cpu = doc ? find_cpu(xmlDocGetRootElement(doc)) : NULL;
	const char *name = xml_text(xml_child(cpu, "model"));
	const struct cpu_model *model = name ? cpu_model_find(name) : NULL;
	struct processor *processor = NULL;

	if (!doc) {
		(*error)->domain = DAEMON_ERROR;
		(*error)->code = VIR_ERR_XML_ERROR;
	} else if (!cpu) {
		daemon_refuse(error, VIR_ERR_XML_ERROR, "there is no <cpu> in this XML");
	} else if (name && !model) {
		daemon_refuse(error, VIR_ERR_INVALID_ARG,
			      "the processor model '%s' is not in this version; see virsh "
			      "cpu-models x86_64",
			      name);
	} else {
		processor = processor_new(vendor_in(cpu));
		if (model)
			processor_add_model(processor, model);
		else if (xml_attr(cpu, "mode"))
			add_all(processor, host);
		add_common(processor, host);
		read_features(processor, cpu, unknown);
	}
	xmlFreeDoc(doc);
	return processor;
}

/* --- comparing --- */

/* The names of what @wanted has and @host lacks, with commas; NULL: nothing. The caller frees it.
 */
static char *lacking(const struct processor *wanted, const struct processor *host,
		     GPtrArray *unknown)
{
	GPtrArray *names = g_ptr_array_new();
	GHashTableIter iter;
	gpointer name;
	char *text = NULL;

	g_hash_table_iter_init(&iter, wanted->features);
	while (g_hash_table_iter_next(&iter, &name, NULL))
		if (!processor_has(host, name))
			g_ptr_array_add(names, (char *)cpu_feature_libvirt_name(name));
	for (guint i = 0; i < unknown->len; i++)
		g_ptr_array_add(names, unknown->pdata[i]);
	if (names->len) {
		qsort(names->pdata, names->len, sizeof(gpointer), by_name);
		g_ptr_array_add(names, NULL);
		text = g_strjoinv(", ", (char **)names->pdata);
	}
	g_ptr_array_free(names, TRUE);
	return text;
}

/* False: the call has been failed. */
static bool compare(struct rpc_call *call, const char *xml, u32 flags, s32 *result)
{
	struct daemon *daemon = rpc_call_opaque(call);
	const struct processor *host = cpu_of_host(daemon);
	g_autoptr(GPtrArray) unknown = g_ptr_array_new_with_free_func(g_free);
	g_autofree char *lacks = NULL;
	GError *error = NULL;
	struct processor *wanted;

	if (!call_flags(call, flags,
			VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE |
				VIR_CONNECT_COMPARE_CPU_VALIDATE_XML))
		return false;
	wanted = read_processor(xml, host, unknown, &error);
	if (!wanted) {
		fail_call(call, error);
		return false;
	}
	lacks = lacking(wanted, host, unknown);
	*result = lacks ? VIR_CPU_COMPARE_INCOMPATIBLE
		  : g_hash_table_size(wanted->features) == g_hash_table_size(host->features)
			  ? VIR_CPU_COMPARE_IDENTICAL
			  : VIR_CPU_COMPARE_SUPERSET;
	processor_free(wanted);
	if (!lacks || !(flags & VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE))
		return true;
	rpc_call_fail(call, VIR_ERR_CPU_INCOMPATIBLE, VIR_FROM_CPU,
		      "the CPU is incompatible with host CPU: guests have no %s here", lacks);
	return false;
}

static void compare_cpu(struct rpc_call *call, const struct rpc_connect_compare_cpu_args *args)
{
	struct rpc_connect_compare_cpu_ret ret;

	if (compare(call, args->xml, args->flags, &ret.result))
		rpc_reply_connect_compare_cpu(call, &ret);
}

/* Is it about what is here? False: the call has been failed. */
static bool is_ours(struct rpc_call *call, const char *arch, const char *machine,
		    const char *domain_type)
{
	GError *error = NULL;
	char *xml = domain_capabilities_xml(rpc_call_opaque(call), arch, machine, domain_type, NULL,
					    &error);

	g_free(xml);
	if (xml)
		return true;
	fail_call(call, error);
	return false;
}

static void compare_hypervisor_cpu(struct rpc_call *call,
				   const struct rpc_connect_compare_hypervisor_cpu_args *args)
{
	struct rpc_connect_compare_hypervisor_cpu_ret ret;

	if (is_ours(call, args->arch, args->machine, args->virttype) &&
	    compare(call, args->xmlCPU, args->flags, &ret.result))
		rpc_reply_connect_compare_hypervisor_cpu(call, &ret);
}

/* --- what several share --- */

static gboolean is_missing(gpointer name, gpointer value, gpointer other)
{
	return !processor_has(other, name);
}

/* NULL with @error set. */
static struct processor *shared(char *const *texts, u32 count, const struct processor *host,
				GError **error)
{
	struct processor *all = NULL;

	if (!count)
		daemon_refuse(error, VIR_ERR_INVALID_ARG, "no processors are given");
	for (u32 i = 0; i < count && !*error; i++) {
		g_autoptr(GPtrArray) unknown = g_ptr_array_new_with_free_func(g_free);
		struct processor *one = read_processor(texts[i], host, unknown, error);

		if (one && all) {
			g_hash_table_foreach_remove(all->features, is_missing, one);
			if (g_strcmp0(all->vendor, one->vendor))
				all->vendor = NULL;
			processor_free(one);
		} else if (one) {
			all = one;
		}
	}
	if (!*error)
		return all;
	processor_free(all);
	return NULL;
}

/* The answer, which is the call's; NULL: it has been failed. */
static char *baseline(struct rpc_call *call, char *const *texts, u32 count, u32 flags)
{
	g_autofree char *inside = NULL;
	GError *error = NULL;
	struct processor *all;

	if (!call_flags(call, flags,
			VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES |
				VIR_CONNECT_BASELINE_CPU_MIGRATABLE))
		return NULL;
	all = shared(texts, count, cpu_of_host(rpc_call_opaque(call)), &error);
	if (!all) {
		fail_call(call, error);
		return NULL;
	}
	inside = elements(all, "  ", true, flags & VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES);
	processor_free(all);
	return call_text(call,
			 g_strdup_printf("<cpu mode='custom' match='exact'>\n%s</cpu>\n", inside));
}

static void baseline_cpu(struct rpc_call *call, const struct rpc_connect_baseline_cpu_args *args)
{
	const struct rpc_connect_baseline_cpu_ret ret = { baseline(
		call, args->xmlCPUs.items, args->xmlCPUs.count, args->flags) };

	if (ret.cpu)
		rpc_reply_connect_baseline_cpu(call, &ret);
}

static void baseline_hypervisor_cpu(struct rpc_call *call,
				    const struct rpc_connect_baseline_hypervisor_cpu_args *args)
{
	struct rpc_connect_baseline_hypervisor_cpu_ret ret = { NULL };

	if (is_ours(call, args->arch, args->machine, args->virttype))
		ret.cpu = baseline(call, args->xmlCPUs.items, args->xmlCPUs.count, args->flags);
	if (ret.cpu)
		rpc_reply_connect_baseline_hypervisor_cpu(call, &ret);
}

/* --- models --- */

static void get_cpu_model_names(struct rpc_call *call,
				const struct rpc_connect_get_cpu_model_names_args *args)
{
	struct rpc_connect_get_cpu_model_names_ret ret = { 0 };
	g_autoptr(GPtrArray) names = g_ptr_array_new();

	if (!call_flags(call, args->flags, 0) || !is_ours(call, args->arch, NULL, NULL))
		return;
	for (unsigned i = 0; cpu_model_at(i); i++)
		g_ptr_array_add(names, (char *)cpu_model_name(cpu_model_at(i)));
	ret.ret = names->len;
	if (args->need_results) {
		ret.models.items = (char **)names->pdata;
		ret.models.count = names->len;
	}
	rpc_reply_connect_get_cpu_model_names(call, &ret);
}

const struct rpc_handlers calls_cpu = {
	.connect_get_cpu_model_names = get_cpu_model_names,
	.connect_compare_cpu = compare_cpu,
	.connect_compare_hypervisor_cpu = compare_hypervisor_cpu,
	.connect_baseline_cpu = baseline_cpu,
	.connect_baseline_hypervisor_cpu = baseline_hypervisor_cpu,
};
