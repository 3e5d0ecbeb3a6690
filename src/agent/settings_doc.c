/* Owns what is printed about settings: the sample file and portcullis.conf(5), both from the table and nothing else. */
#include "agent/settings.h"
#include "agent/settings_table.h"

#include <string.h>

static const struct {
    const char *name, *about;
} sections[] = {
    {"guard", "What is guarded, and how its content is kept."},
    {"preserve", "How much is kept, and for how long."},
    {"judge", "What counts as destroying files in bulk."},
    {"action", "What happens then."},
    {"allow", "Programs that are expected to do what looks like destruction."},
    {"log", "Where events go: always to standard output, and to:"},
    {"limits", "Bounds of the guard's own memory and time."},
    {"fleet", "This host as one of a fleet (portcullisd host)."},
};

static const char *about_section(const char *name)
{
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++)
        if (strcmp(sections[i].name, name) == 0)
            return sections[i].about;
    return "";
}

/* Writes text in comment lines of at most 100 columns. */
static void write_comment(FILE *f, const char *text)
{
    while (*text) {
        size_t n = strlen(text);
        if (n > 98) {
            for (n = 98; n > 0 && text[n] != ' '; n--)
                ;
            n = n ? n : 98;
        }
        fprintf(f, "# %.*s\n", (int)n, text);
        text += n;
        text += strspn(text, " ");
    }
}

/* Something to show for keys without a default. */
static const char *example_of(const struct pc_setting *row)
{
    if (row->type == PC_TYPE_RULES)
        return "sha256:0000000000000000000000000000000000000000000000000000000000000000 under=/srv/data/build "
               "until=2026-12-31T00:00:00Z";
    if (strcmp(row->section, "fleet") == 0)
        return "/srv";
    return strcmp(row->name, "exclude") == 0 ? "/srv/data/cache" : "/srv/data";
}

static bool starts_section(size_t i)
{
    return i == 0 || strcmp(pc_setting_rows[i].section, pc_setting_rows[i - 1].section) != 0;
}

void pc_settings_write_sample(FILE *f)
{
    fputs("# Settings of portcullisd; see portcullis.conf(5). Every key is shown with its default.\n"
          "# An unknown key or a bad value is an error: check with `portcullisd -n`. Reload with SIGHUP.\n",
          f);
    for (size_t i = 0; i < pc_setting_count; i++) {
        const struct pc_setting *row = &pc_setting_rows[i];
        if (starts_section(i)) {
            fputc('\n', f);
            write_comment(f, about_section(row->section));
            fprintf(f, "[%s]\n", row->section);
        }
        char allowed[192];
        pc_setting_ops[row->type].allowed(row, allowed, sizeof allowed);
        fputc('\n', f);
        write_comment(f, row->brief);
        write_comment(f, allowed);
        if (row->restart)
            write_comment(f, "takes effect with the next start");
        if (pc_setting_ops[row->type].repeatable)
            fprintf(f, "#%s = %s\n", row->name, example_of(row));
        else
            fprintf(f, "%s = %s\n", row->name, row->def);
    }
    fputs("\n# What differs beneath one folder; the longest matching path wins, whole.\n#[path \"/srv/data\"]\n", f);
    for (size_t i = 0; i < pc_path_setting_count; i++)
        fprintf(f, "#%s = %s\n", pc_path_setting_rows[i].row.name, pc_path_setting_rows[i].row.def);
}

/* Text for man(7): backslashes and hyphens escaped, and no line that starts with a control character. */
static void write_roff(FILE *f, const char *text)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", f);
    for (; *text; text++) {
        if (*text == '\\')
            fputs("\\e", f);
        else if (*text == '-')
            fputs("\\-", f);
        else
            fputc(*text, f);
    }
    fputc('\n', f);
}

static void write_manual_key(FILE *f, const struct pc_setting *row)
{
    char allowed[192];
    pc_setting_ops[row->type].allowed(row, allowed, sizeof allowed);
    fputs(".TP\n.B ", f);
    write_roff(f, row->name);
    write_roff(f, row->brief);
    fputs(".br\nAllowed: ", f);
    write_roff(f, allowed);
    if (!pc_setting_ops[row->type].repeatable) {
        fputs(".br\nDefault: ", f);
        write_roff(f, row->def);
    }
    if (row->restart)
        fputs(".br\nTakes effect with the next start.\n", f);
    if (row->text[0]) {
        fputs(".br\n", f);
        write_roff(f, row->text);
    }
}

void pc_settings_write_manual(FILE *f)
{
    fputs(
        ".\\\" Made from the table in src/agent/settings.h. Do not edit.\n"
        ".TH PORTCULLIS.CONF 5 \"\" \"portcullis " PC_VERSION "\" \"Portcullis\"\n"
        ".SH NAME\nportcullis.conf \\- settings of portcullisd\n"
        ".SH SYNOPSIS\n.I /etc/portcullis/portcullis.conf\n"
        ".SH DESCRIPTION\n"
        "Sections in brackets, and lines\n.IR \"name\" \" = \" \"value\" .\n"
        "Lines that start with # or ; are comments, and so is what follows a blank and a semicolon.\n"
        "Unknown sections, unknown keys, a single key given twice and bad values are errors that name file and line.\n"
        ".B portcullisd \\-n\nchecks a file,\n.B portcullisd \\-\\-print\\-settings\nprints a sample with every key.\n"
        ".PP\nSIGHUP makes the guard read the file again, without a gap in protection. When the file has an error, "
        "the\n"
        "settings before it stay; so they do when it is gone, or names no folder and none was named on the command "
        "line.\nKeys that take effect with the next start are named in the log.\n",
        f);
    for (size_t i = 0; i < pc_setting_count; i++) {
        const struct pc_setting *row = &pc_setting_rows[i];
        if (starts_section(i)) {
            fprintf(f, ".SH [%s]\n", row->section);
            write_roff(f, about_section(row->section));
        }
        write_manual_key(f, row);
    }
    fputs(".SH [path \"/folder\"]\n"
          "What differs beneath one folder. The longest matching path wins, whole: it inherits from [guard] and "
          "[preserve],\n"
          "not from a shorter path.\n",
          f);
    for (size_t i = 0; i < pc_path_setting_count; i++)
        write_manual_key(f, &pc_path_setting_rows[i].row);
    fputs(".SH EXAMPLE\n.nf\n[guard]\nprotect = /srv/files\nprotect = /home\nexclude = /home/ci/build\n\n"
          "[path \"/srv/files/video\"]\ncopy\\-limit = 2G\n\n[action]\ndelay = 4h\nafter\\-delay = end\n.fi\n"
          ".SH SEE ALSO\n.BR portcullisd (8),\n.BR portcullis (1)\n",
          f);
}
