/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Parts of XML that an XPath expression names (--xpath), as virsh prints them. */
#include "cli/daemon.h"
#include "cli/xml.h"

#include <libxml/parser.h>
#include <libxml/tree.h>
#include <libxml/xpath.h>
#include <stdio.h>
#include <string.h>

static void ignore_message(void *context, const char *text, ...)
{
}

static void print_node(xmlDoc *doc, xmlNode *node)
{
	xmlBuffer *text = xmlBufferCreate();

	xmlNodeDump(text, doc, node, 0, 1);
	printf("%s\n", (const char *)xmlBufferContent(text));
	xmlBufferFree(text);
}

/* In a document of their own, so that all that is printed is one. */
static void print_wrapped(const xmlNodeSet *nodes)
{
	xmlDoc *doc = xmlNewDoc(BAD_CAST "1.0");
	xmlNode *root = xmlNewNode(NULL, BAD_CAST "nodes");

	xmlDocSetRootElement(doc, root);
	for (int i = 0; i < nodes->nodeNr; i++)
		xmlAddChild(root, xmlCopyNode(nodes->nodeTab[i], 1));
	print_node(doc, root);
	xmlFreeDoc(doc);
}

/* False: it has been said why not. */
static bool print_found(xmlDoc *doc, const char *expression, bool wrap)
{
	xmlXPathContext *context = xmlXPathNewContext(doc);
	xmlXPathObject *found = xmlXPathEval(BAD_CAST expression, context);
	const xmlNodeSet *nodes = found && found->type == XPATH_NODESET ? found->nodesetval : NULL;
	bool good = found && found->type == XPATH_NODESET;

	if (!good)
		fprintf(stderr, "lodge: '%s' is no XPath expression that names parts of XML\n",
			expression);
	else if (wrap && nodes)
		print_wrapped(nodes);
	for (int i = 0; good && !wrap && nodes && i < nodes->nodeNr; i++)
		print_node(doc, nodes->nodeTab[i]);
	xmlXPathFreeObject(found);
	xmlXPathFreeContext(context);
	return good;
}

bool xml_print(const struct invocation *invocation, const char *xml)
{
	const char *expression = invocation_value(invocation, "--xpath");
	xmlDoc *doc;
	bool good;

	if (!expression) {
		printf("%s%s", xml, g_str_has_suffix(xml, "\n") ? "" : "\n");
		return true;
	}
	xmlSetGenericErrorFunc(NULL, ignore_message);
	doc = xmlReadMemory(xml, strlen(xml), NULL, NULL,
			    XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOBLANKS);
	good = doc && print_found(doc, expression, invocation_has(invocation, "--wrap"));
	xmlFreeDoc(doc);
	return good;
}
