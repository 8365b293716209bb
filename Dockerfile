# The image of every node: docker build --build-arg VARIANT=cpu -t twotower:ray2.60.0-cpu .
# (VARIANT=gpu for nodes with GPUs.) Its tag names the version of Ray: all nodes of a cluster must run the same.
ARG RAY_VERSION=2.60.0
ARG VARIANT=cpu
FROM rayproject/ray:${RAY_VERSION}-py311-${VARIANT}

# Dependencies come before the code, so that a change of code builds in seconds; torch first, by its pin.
WORKDIR /home/ray/twotower
COPY --chown=ray:users constraints.txt pyproject.toml README.md LICENSE ./
RUN pip install --no-cache-dir -c constraints.txt torch==2.13.0 \
    && python -c "import tomllib; print('\n'.join(tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies']))" > /tmp/dependencies.txt \
    && pip install --no-cache-dir -c constraints.txt -r /tmp/dependencies.txt

COPY --chown=ray:users . .
RUN pip install --no-cache-dir --no-deps .

# The user `ray` of Ray's images, by its number: Kubernetes' runAsNonRoot cannot resolve a name.
USER 1000
