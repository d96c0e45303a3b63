// Serves users and groups by scimmy-routers, from memory. Its one argument is the port.
import { randomUUID } from "node:crypto";
import express from "express";
import SCIMMY from "scimmy";
import SCIMMYRouters from "scimmy-routers";

/** The handlers of a resource type that keep its resources in a map. */
function inMemory() {
    const all = new Map();
    return {
        ingress(resource, data) {
            const id = resource.id ?? randomUUID();
            const stored = { ...JSON.parse(JSON.stringify(data)), id };
            all.set(id, stored);
            return stored;
        },
        egress(resource) {
            if (resource.id === undefined) {
                const resources = [...all.values()];
                return resource.filter ? resource.filter.match(resources) : resources;
            }
            const found = all.get(resource.id);
            if (found === undefined) throw new SCIMMY.Types.Error(404, null, `There is no ${resource.id}.`);
            return found;
        },
        degress(resource) {
            all.delete(resource.id);
        },
    };
}

SCIMMY.Resources.declare(SCIMMY.Resources.User, inMemory());
SCIMMY.Resources.declare(SCIMMY.Resources.Group, inMemory());
const handler = (request) => {
    if (!request.header("Authorization")?.startsWith("Bearer ")) throw new Error("The request has no key.");
    return "client";
};
express()
    .use("/scim", new SCIMMYRouters({ type: "bearer", docUri: "https://example.com", handler }))
    .listen(Number(process.argv[2]), "127.0.0.1");
