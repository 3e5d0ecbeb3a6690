/* Owns the frames of the owners' documents. Must not know who gets them. */
#include "server/owners.h"

#include "base/cleanup.h"
#include "trust/json.h"

#include <errno.h>
#include <string.h>

void pc_owners_frames_clear(struct pc_owners_frames *f)
{
    for (size_t i = 0; i < f->n; i++)
        pc_frame_unref(f->frame[i]);
    pc_server_policy_unref(f->of);
    *f = (struct pc_owners_frames){0};
}

static int add(struct pc_owners_frames *f, enum pc_frame_type type, const char *json)
{
    if (!json || f->n == PC_ARRAY_SIZE(f->frame))
        return json ? PC_E_LIMIT : -ENOMEM;
    f->frame[f->n] = pc_frame_new(type, json, strlen(json));
    return f->frame[f->n] ? (int)f->n++ : -ENOMEM;
}

static int add_revocations(struct pc_owners_frames *f, const char *json)
{
    _json_ json_t *list = json_loads(json, 0, NULL);
    json_t *one;
    size_t i;
    int ret = json_is_array(list) ? 0 : PC_E_CORRUPT;
    json_array_foreach(list, i, one)
    {
        _free_ char *text = json_dumps(json_object_get(one, "envelope"), JSON_COMPACT);
        if (ret >= 0)
            ret = add(f, PC_FRAME_REVOKE, text);
    }
    return ret;
}

int pc_owners_frames_get(struct pc_owners_frames *f, struct pc_server_policy *of)
{
    int ret = 0;
    if (f->of == of)
        return 0;
    pc_owners_frames_clear(f);
    f->of = pc_server_policy_ref(of);
    /* Version 1 is what a host was given at enrolment; there is nothing older to bring up to date. */
    if (of->trust_json && of->trust.version > 1)
        ret = add(f, PC_FRAME_TRUST, of->trust_json);
    if (ret >= 0 && of->revocations_json)
        ret = add_revocations(f, of->revocations_json);
    if (ret >= 0 && of->statement_json)
        ret = add(f, PC_FRAME_SERVER, of->statement_json);
    if (ret < 0)
        pc_owners_frames_clear(f);
    return ret < 0 ? ret : 0;
}
