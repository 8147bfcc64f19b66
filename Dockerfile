# Two stages: the first makes the wheel and a virtual environment, the second copies that environment and nothing else.
FROM python:3.12-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /build

# Dependencies first: they change more rarely than the code, and a layer that is unchanged is not built again.
# Wheels only, because there is no compiler here and none is wanted.
COPY requirements/runtime.txt requirements/dev.txt requirements/
RUN python -m venv --without-pip /opt/counterfoil \
 && pip --python /opt/counterfoil/bin/python install --require-hashes --only-binary :all: -r requirements/runtime.txt

# The build backend, at the version and with the hashes that development uses. pip refuses the list when it is short.
RUN awk '/^[a-z]/ { wanted = /^(hatchling|packaging|pathspec|pluggy|tomlkit|trove-classifiers)==/ } wanted' \
      requirements/dev.txt > requirements/backend.txt \
 && pip install --require-hashes --only-binary :all: -r requirements/backend.txt

COPY pyproject.toml README.md LICENSE ./
COPY alembic alembic
COPY src src
RUN pip wheel --no-deps --no-build-isolation --no-index --wheel-dir dist . \
 && pip --python /opt/counterfoil/bin/python install --no-deps --no-index dist/*.whl

# What never runs: the tests, C sources, type stubs, commands and papers that some wheels carry.
RUN find /opt/counterfoil -mindepth 1 -maxdepth 1 ! -name bin ! -name 'lib*' ! -name pyvenv.cfg -exec rm -r {} + \
 && find /opt/counterfoil/bin -type f ! -name counterfoil -delete \
 && find /opt/counterfoil/lib -type d -name tests -prune -exec rm -r {} + \
 && find /opt/counterfoil/lib -type f \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' \
      -o -name '*.c' -o -name '*.cpp' -o -name '*.h' -o -name '*.hpp' \) -delete

# Readable for the user below, whatever the permissions in the source tree are.
COPY config/docker-demo.yaml settings/demo.yaml
RUN chmod -R a=rX settings


FROM python:3.12-slim-bookworm

ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Counterfoil" \
      org.opencontainers.image.description="Mirrors a broker's trading platforms into PostgreSQL, exactly" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# The base image's pip goes: nothing is ever installed into a running container.
RUN rm -rf /usr/local/lib/python3.12/site-packages/pip* /usr/local/lib/python3.12/ensurepip /usr/local/bin/pip* \
 && groupadd --gid 10001 counterfoil \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin counterfoil
COPY --from=build /opt/counterfoil /opt/counterfoil
COPY --from=build /build/settings /etc/counterfoil

# The base image comes without compiled files of the standard library, and a read-only file system never gets them:
# what the daemon and the health check import is compiled here once, not at every start and every check.
RUN /opt/counterfoil/bin/python -c 'import counterfoil.cli.main, http.client'

ENV PATH=/opt/counterfoil/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

# By number, so that Kubernetes can see that it is not root.
USER 10001:10001
WORKDIR /
EXPOSE 9187
STOPSIGNAL SIGTERM

# Is the process alive? Whether it is ready (/readyz) depends on the database and the platforms too, and no restart of
# this container mends those. http.client rather than urllib, which would ask a proxy that the environment names.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-I", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 9187, timeout=4); c.request('GET', '/healthz'); exit(c.getresponse().status != 200)"]

ENTRYPOINT ["counterfoil"]
CMD ["run", "-c", "/etc/counterfoil/counterfoil.yaml"]
