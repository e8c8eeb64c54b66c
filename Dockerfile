# A static binary and nothing else: no shell, no package manager, not root.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=development
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /slotferry ./cmd/slotferry \
 && mkdir -p /work /empty

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /slotferry /slotferry
# Checkpoints go to .slotferry below the working folder: mount a volume there.
COPY --from=build --chown=65532:65532 /work /work
# What does not fit into memory waits in /tmp: a volume is better there, too.
COPY --from=build --chown=65532:65532 /empty /tmp
WORKDIR /work
USER 65532:65532
# Of slotferry serve, when it listens on more than this machine.
EXPOSE 8474
ENTRYPOINT ["/slotferry"]
CMD ["--help"]
