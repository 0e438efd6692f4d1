# One image for all roles: mooring-agent.js (which also installs the CNI executable), mooring-controller.js,
# mooring-ipam.js and mooringctl.js, under /opt/mooring. For amd64 and arm64:
#   docker buildx build --platform linux/amd64,linux/arm64 -t mooring:0.1.0 .
FROM node:24-bookworm-slim AS build
WORKDIR /src
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY . .
# The same files that scripts/image packs: Node, the libraries it loads, dist/. Nothing else, not even a shell.
RUN node scripts/image.ts --root /image

FROM scratch
COPY --from=build /image /
ENV PATH=/opt/mooring:/opt/mooring/bin NODE_ENV=production
USER 65532:65532
CMD ["/opt/mooring/mooring-ipam.js", "--help"]
