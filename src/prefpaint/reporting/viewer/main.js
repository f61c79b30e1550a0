// Shows two meshes side by side through one camera, which starts where the photograph was taken.
//
// The page holds <div class="scene"> with two <canvas data-mesh="ID">, each with a gzipped GLB in base64 in the element
// of that id; [data-reset], a button; and [data-trouble], for what cannot be shown. `data-fov` is the horizontal angle of
// the photograph's camera, radians, `data-aspect` the photograph's width by its height, `data-pivot` how far in front of
// it lies the point that cameras circle, `data-farthest-yaw` and `data-farthest-pitch` how far they may turn, radians.
// Meshes have vertex colours, y up; that camera is at the origin and looks along -z.
import { Color, MeshBasicMaterial, PerspectiveCamera, Scene, Spherical, WebGLRenderer } from "three";
import { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";
import { GLTFLoader } from "three/examples/jsm/loaders/GLTFLoader.js";

// How far the sway goes, as a share of how far one can turn.
const SWAY = { yaw: 0.45, pitch: 0.2, seconds: 9 };
const STEP = 0.06;
const NO_WEBGL = "This browser does not draw in three dimensions (WebGL 2 is missing or switched off); the figure below shows the scene from several sides.";

async function mesh(canvas) {
  const text = document.getElementById(canvas.dataset.mesh).textContent.trim();
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const whole = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const { scene } = await new GLTFLoader().parseAsync(await new Response(whole).arrayBuffer(), "");
  scene.traverse((one) => {
    // The colours are the photograph's, with its light; the surface has no back.
    if (one.isMesh) one.material = new MeshBasicMaterial({ vertexColors: true });
  });
  return scene;
}

async function start(frame) {
  const canvases = [...frame.querySelectorAll("canvas")];
  const contexts = canvases.map((canvas) => canvas.getContext("webgl2", { antialias: true, alpha: false }));
  if (contexts.includes(null)) throw new Error(NO_WEBGL);
  const scenes = await Promise.all(
    canvases.map(async (canvas) => {
      const scene = new Scene();
      scene.background = new Color(getComputedStyle(canvas).backgroundColor);
      scene.add(await mesh(canvas));
      return scene;
    }),
  );
  const renderers = canvases.map((canvas, i) => new WebGLRenderer({ canvas, context: contexts[i] }));
  const tangent = Math.tan(Number(frame.dataset.fov) / 2);
  const aspect = Number(frame.dataset.aspect);
  const depth = Number(frame.dataset.pivot);
  // Beyond, nothing was painted.
  const farthest = { yaw: Number(frame.dataset.farthestYaw), pitch: Number(frame.dataset.farthestPitch) };
  const vertical = (2 * Math.atan(tangent / aspect) * 180) / Math.PI;
  const camera = new PerspectiveCamera(vertical, aspect, depth / 100, depth * 100);

  const panes = frame.querySelector(".panes");
  const controls = new OrbitControls(camera, panes);
  controls.enablePan = false;
  // Across a pane from one side to the other.
  controls.rotateSpeed = 0.3;
  controls.target.set(0, 0, -depth);
  controls.minAzimuthAngle = -farthest.yaw;
  controls.maxAzimuthAngle = farthest.yaw;
  controls.minPolarAngle = Math.PI / 2 - farthest.pitch;
  controls.maxPolarAngle = Math.PI / 2 + farthest.pitch;
  controls.minDistance = depth * 0.4;
  controls.maxDistance = depth * 1.5;
  controls.enableZoom = false;
  controls.update();
  controls.saveState();
  // A finger that moves up or down scrolls the page.
  panes.style.touchAction = "pan-y";

  const turn = (change) => {
    const place = new Spherical().setFromVector3(camera.position.clone().sub(controls.target));
    change(place);
    camera.position.setFromSpherical(place).add(controls.target);
    controls.update();
  };
  const draw = () => {
    renderers.forEach((renderer, i) => renderer.render(scenes[i], camera));
    // Where the camera is, for whoever looks from outside.
    frame.dataset.yaw = controls.getAzimuthalAngle().toFixed(4);
    frame.dataset.pitch = (Math.PI / 2 - controls.getPolarAngle()).toFixed(4);
    frame.dataset.distance = (controls.getDistance() / depth).toFixed(4);
  };
  const resize = () => {
    canvases.forEach((canvas, i) => {
      renderers[i].setPixelRatio(Math.min(devicePixelRatio, 2));
      renderers[i].setSize(canvas.clientWidth, canvas.clientHeight, false);
    });
    draw();
  };

  let sways = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  let inView = true;
  let began = null;
  const sway = (now) => {
    if (!sways || !inView) {
      began = null;
      return;
    }
    began ??= now;
    const phase = (2 * Math.PI * (now - began)) / 1000 / SWAY.seconds;
    turn((place) => {
      place.theta = SWAY.yaw * farthest.yaw * Math.sin(phase);
      place.phi = Math.PI / 2 - SWAY.pitch * farthest.pitch * Math.sin(2 * phase);
    });
    draw();
    requestAnimationFrame(sway);
  };
  const hold = () => {
    sways = false;
  };

  controls.addEventListener("change", () => sways || draw());
  panes.addEventListener("pointerdown", () => {
    hold();
    panes.focus({ preventScroll: true });
  });
  // The wheel scrolls the page until the scene has been touched or reached by keyboard.
  panes.addEventListener("focus", () => {
    hold();
    controls.enableZoom = true;
  });
  panes.addEventListener("blur", () => {
    controls.enableZoom = false;
  });
  panes.addEventListener("keydown", (event) => {
    const change = {
      ArrowLeft: (place) => (place.theta -= STEP),
      ArrowRight: (place) => (place.theta += STEP),
      ArrowUp: (place) => (place.phi -= STEP),
      ArrowDown: (place) => (place.phi += STEP),
      "+": (place) => (place.radius *= 0.9),
      "-": (place) => (place.radius /= 0.9),
    }[event.key];
    if (!change || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    turn(change);
    draw();
  });
  frame.querySelector("[data-reset]").addEventListener("click", () => {
    hold();
    controls.reset();
    draw();
  });
  new ResizeObserver(resize).observe(panes);
  new IntersectionObserver(([{ isIntersecting }]) => {
    const came = isIntersecting && !inView;
    inView = isIntersecting;
    if (came) requestAnimationFrame(sway);
  }).observe(panes);
  resize();
  requestAnimationFrame(sway);
  frame.dataset.state = "shown";
}

for (const frame of document.querySelectorAll(".scene")) {
  new IntersectionObserver(
    (entries, observer) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      start(frame).catch((error) => {
        frame.dataset.state = "trouble";
        frame.querySelector("[data-trouble]").textContent = error.message;
      });
    },
    { rootMargin: "200px" },
  ).observe(frame);
}
